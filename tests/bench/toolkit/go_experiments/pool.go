// A server whose handler asks a downstream: with a goroutine and a connection of its own for each request, or through a
// pool of workers that keep their connections. The twin of experiment_pool.cpp.
package main

import (
	"io"
	"log"
	"net"
	"net/http"
)

const messageSize = 64

type downstream struct {
	conn    net.Conn
	message [messageSize]byte
}

func (d *downstream) exchange() error {
	if _, err := d.conn.Write(d.message[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(d.conn, d.message[:])
	return err
}

func dial(port string) (*downstream, error) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	d := &downstream{conn: conn}
	if err := d.exchange(); err != nil { // logs in
		conn.Close()
		return nil, err
	}
	return d, nil
}

func unbounded(port string) error {
	d, err := dial(port)
	if err != nil {
		return err
	}
	defer d.conn.Close()
	return d.exchange()
}

func startWorkers(port string, workers int) chan chan error {
	jobs := make(chan chan error, 4096)
	for i := 0; i < workers; i++ {
		go func() {
			var d *downstream
			for job := range jobs {
				var err error
				if d == nil {
					d, err = dial(port)
				}
				if err == nil {
					err = d.exchange()
				}
				if err != nil && d != nil {
					d.conn.Close()
					d = nil
				}
				job <- err
			}
		}()
	}
	return jobs
}

func pool(port, downstreamPort string, workers int) {
	ask := func() error { return unbounded(downstreamPort) }
	if workers > 0 {
		jobs := startWorkers(downstreamPort, workers)
		ask = func() error {
			job := make(chan error, 1)
			jobs <- job
			return <-job
		}
	}
	body := []byte("done\n")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if err := ask(); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write(body)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, nil))
}
