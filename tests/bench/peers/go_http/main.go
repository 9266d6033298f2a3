// The Go peer: net/http as it comes, but for the time-outs that the attack table sets. GOMAXPROCS is set by the harness.
// With h2c it speaks HTTP/2 by prior knowledge, too; with a certificate it speaks TLS, and HTTP/2 by ALPN.
//
//	go_http HTTP-ADDRESS TCP-ADDRESS FILES [header=10s] [idle=60s] [read=30s] [write=30s] [h2c] [certificate=FILE key=FILE]
package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

func text(body string) http.HandlerFunc {
	bytes := []byte(body)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Write(bytes)
	}
}

// Takes a body of any length, and keeps nothing of it.
func sink(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
}

// Reads the whole body before it answers, so that a refusal can be told by its status.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		status := http.StatusBadRequest
		if _, large := err.(*http.MaxBytesError); large {
			status = http.StatusRequestEntityTooLarge
		}
		w.Header().Set("Connection", "close")
		http.Error(w, http.StatusText(status), status)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(body)
}

func serveEcho(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			continue
		}
		go func() {
			defer c.Close()
			b := make([]byte, 4096)
			for {
				n, err := c.Read(b)
				if n > 0 {
					if _, err := c.Write(b[:n]); err != nil {
						return
					}
				}
				if err != nil {
					return
				}
			}
		}()
	}
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/", text("Hello, World!"))
	mux.HandleFunc("/sentinel", text("sentinel"))
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/sink", sink)
	mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(os.Args[3]))))
	server := &http.Server{Addr: os.Args[1], Handler: mux}
	certificate, key, priorKnowledge := "", "", false
	for _, option := range os.Args[4:] {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "h2c":
			priorKnowledge = true
			continue
		case "certificate":
			certificate = value
			continue
		case "key":
			key = value
			continue
		}
		limit, err := time.ParseDuration(value)
		if err != nil {
			log.Fatal(err)
		}
		switch name {
		case "header":
			server.ReadHeaderTimeout = limit
		case "idle":
			server.IdleTimeout = limit
		case "read":
			server.ReadTimeout = limit
		case "write":
			server.WriteTimeout = limit
		default:
			log.Fatal("unknown option " + option)
		}
	}
	if priorKnowledge {
		server.Handler = h2c.NewHandler(mux, &http2.Server{IdleTimeout: server.IdleTimeout})
	}
	go serveEcho(os.Args[2])
	if certificate != "" {
		log.Fatal(server.ListenAndServeTLS(certificate, key))
	}
	log.Fatal(server.ListenAndServe())
}
