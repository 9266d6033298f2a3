// A server of bounded capacity, with or without a token bucket before it. The twin of experiment_overload.cpp.
package main

import (
	"log"
	"math"
	"net/http"
	"sync"
	"time"
)

// What golang.org/x/time/rate does for Allow: tokens come in by the clock, up to the burst.
type bucket struct {
	mu     sync.Mutex
	rate   float64 // a second
	burst  float64
	tokens float64
	last   time.Time
}

func newBucket(rate, burst float64) *bucket {
	return &bucket{rate: rate, burst: burst, tokens: burst, last: time.Now()}
}

func (b *bucket) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.tokens = math.Min(b.burst, b.tokens+now.Sub(b.last).Seconds()*b.rate)
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func overload(port string, slots, holdUS, rate int) {
	free := make(chan struct{}, slots)
	hold := time.Duration(holdUS) * time.Microsecond
	var limit *bucket
	if rate > 0 {
		limit = newBucket(float64(rate), float64(slots))
	}
	body := []byte("done\n")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if limit != nil && !limit.allow() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		select {
		case free <- struct{}{}:
		case <-r.Context().Done(): // a client that is gone wants no slot any more
			return
		}
		time.Sleep(hold)
		<-free
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write(body)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, nil))
}
