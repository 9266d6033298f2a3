// 1,000,000 increments by 16 goroutines: under a mutex, on one atomic, on an atomic for each. The twin of
// experiment_counters.cpp.
package main

import (
	"fmt"
	"log"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	counterThreads = 16
	increments     = 1_000_000
)

type shard struct {
	n int64
	_ [120]byte // two cache lines: the prefetcher takes them in pairs
}

// Starts the goroutines, opens the gate, and returns how long it took until the last was done.
func race(pinned bool, body func(thread, n int)) time.Duration {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	for t := 0; t < counterThreads; t++ {
		t := t
		ready.Add(1)
		done.Add(1)
		go func() {
			if pinned {
				runtime.LockOSThread()
			}
			ready.Done()
			<-gate
			body(t, increments/counterThreads)
			done.Done()
		}()
	}
	ready.Wait()
	begin := time.Now()
	close(gate)
	done.Wait()
	return time.Since(begin)
}

func counters(variant string, pinned bool) {
	runtime.GOMAXPROCS(counterThreads)
	var took time.Duration
	var total int64
	for round := 0; round < 2; round++ { // the first one warms up
		var (
			mu      sync.Mutex
			plain   int64
			counter int64
			shards  [counterThreads]shard
		)
		total = 0
		switch variant {
		case "mutex":
			took = race(pinned, func(_, n int) {
				for i := 0; i < n; i++ {
					mu.Lock()
					plain++
					mu.Unlock()
				}
			})
			total = plain
		case "atomic":
			took = race(pinned, func(_, n int) {
				for i := 0; i < n; i++ {
					atomic.AddInt64(&counter, 1)
				}
			})
			total = counter
		case "sharded":
			took = race(pinned, func(t, n int) {
				for i := 0; i < n; i++ {
					atomic.AddInt64(&shards[t].n, 1)
				}
			})
			for i := range shards {
				total += shards[i].n
			}
		default:
			log.Fatal("bad variant")
		}
		if total != increments {
			log.Fatalf("%d increments", total)
		}
	}
	fmt.Printf("{\"variant\": \"%s\", \"pinned\": %t, \"ms\": %.4f, \"count\": %d}\n", variant, pinned,
		float64(took.Nanoseconds())*1e-6, total)
}
