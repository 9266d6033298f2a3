// What fairness.py runs, for Go: see fairness_fiberd.cpp.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func compute(d time.Duration) {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
	}
}

func quantile(v []float64, q float64) float64 {
	sort.Float64s(v)
	i := int(q * float64(len(v)))
	if i >= len(v) {
		i = len(v) - 1
	}
	return v[i]
}

func turns(seconds float64) {
	count, longest := make([]float64, 1000), make([]float64, 1000)
	end := time.Now().Add(time.Duration(seconds * 1e9))
	var wg sync.WaitGroup
	for i := range count {
		wg.Add(1)
		left := time.Now()
		go func(i int) {
			defer wg.Done()
			for {
				now := time.Now()
				if w := now.Sub(left).Seconds() * 1e3; w > longest[i] {
					longest[i] = w
				}
				if now.After(end) {
					return
				}
				compute(50 * time.Microsecond)
				count[i]++
				left = time.Now()
				runtime.Gosched()
			}
		}(i)
	}
	wg.Wait()
	fmt.Printf("%.0f %.0f %.3f %.3f\n", quantile(count, 0), quantile(count, 0.5), quantile(longest, 0.5), quantile(longest, 1))
}

func timers(seconds float64) {
	end := time.Now().Add(time.Duration(seconds * 1e9))
	for i := 0; i < 8; i++ {
		go func() {
			for time.Now().Before(end) {
				compute(600 * time.Microsecond)
				runtime.Gosched()
			}
		}()
	}
	var late []float64
	for time.Now().Before(end) {
		begin := time.Now()
		time.Sleep(time.Millisecond)
		late = append(late, (time.Since(begin)-time.Millisecond).Seconds()*1e3)
	}
	fmt.Printf("%.3f %.3f %.3f\n", quantile(late, 0.5), quantile(late, 0.99), quantile(late, 1))
}

// What fairness_daemon.cpp serves: go_fairness serve PROCESSORS PORT.
func serve(port string) {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("Hello, World!")) })
	http.HandleFunc("/holds", func(w http.ResponseWriter, r *http.Request) {
		compute(2 * time.Second)
		w.Write([]byte("held\n"))
	})
	http.HandleFunc("/reads", func(w http.ResponseWriter, r *http.Request) {
		var ends [2]int
		if err := syscall.Pipe(ends[:]); err != nil {
			log.Fatal(err)
		}
		time.AfterFunc(2*time.Second, func() { syscall.Close(ends[1]) })
		syscall.Read(ends[0], make([]byte, 1))
		syscall.Close(ends[0])
		w.Write([]byte("read\n"))
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, nil))
}

func main() {
	n, _ := strconv.Atoi(os.Args[2])
	runtime.GOMAXPROCS(n)
	if os.Args[1] == "serve" {
		serve(os.Args[3])
	}
	seconds, _ := strconv.ParseFloat(os.Args[3], 64)
	if os.Args[1] == "turns" {
		turns(seconds)
	} else {
		timers(seconds)
	}
}
