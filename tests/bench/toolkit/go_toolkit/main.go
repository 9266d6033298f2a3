// The Go program of the toolkit benchmark: the work of toolkit_fiberd.cpp, as one writes it in Go.
//
//	go_toolkit CASE GOMAXPROCS OPERATIONS
//
// What is measured and printed: ../measure.hpp.
package main

import (
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	buffer         = 128
	mutexFibers    = 100
	heldEvery      = 4
	batch          = 1000
	skynetChildren = 10
)

func sumBelow(n int) int { return n * (n - 1) / 2 }

// One sender, one receiver.
func transfer(capacity, n int) bool {
	ch := make(chan int, capacity)
	go func() {
		for i := 0; i < n; i++ {
			ch <- i
		}
		close(ch)
	}()
	sum := 0
	for v := range ch {
		sum += v
	}
	return sum == sumBelow(n)
}

func handoff(n int) bool { return transfer(0, n) }

func buffered(n int) bool { return transfer(buffer, n) }

func pingpong(n int) bool {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for v := range ping {
			pong <- v + 1
		}
		close(pong)
	}()
	v := 0
	for i := 0; i < n; i++ {
		ping <- v
		v = <-pong
	}
	close(ping)
	_, open := <-pong
	return v == n && !open
}

func select4(n int) bool {
	var channels [4]chan int
	each := n / len(channels)
	for i := range channels {
		ch := make(chan int)
		channels[i] = ch
		go func() {
			for v := 0; v < each; v++ {
				ch <- v
			}
		}()
	}
	a, b, c, d := channels[0], channels[1], channels[2], channels[3]
	sum := 0
	for i := 0; i < each*len(channels); i++ {
		select {
		case v := <-a:
			sum += v
		case v := <-b:
			sum += v
		case v := <-c:
			sum += v
		case v := <-d:
			sum += v
		}
	}
	return sum == sumBelow(each)*len(channels)
}

// With held the holder lets the others run, so that they queue up, in one round of heldEvery.
func locked(n int, held bool) bool {
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		counter int
	)
	each := n / mutexFibers
	for f := 0; f < mutexFibers; f++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; i < each; i++ {
				mu.Lock()
				counter++
				if held && i%heldEvery == 0 {
					runtime.Gosched()
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	return counter == each*mutexFibers
}

func mutex(n int) bool { return locked(n, true) }

func mutexShort(n int) bool { return locked(n, false) }

func spawnJoin(n int) bool {
	results := make([]int, batch)
	sum := 0
	for done := 0; done < n; done += batch {
		var wg sync.WaitGroup
		for i := range results {
			result := &results[i]
			wg.Add(1)
			go func() {
				defer wg.Done()
				*result = 1
			}()
		}
		wg.Wait()
		for i := range results {
			sum += results[i]
			results[i] = 0
		}
	}
	return sum == (n+batch-1)/batch*batch
}

// As published (github.com/atemerev/skynet): a tree of ten children each, the leaves' numbers summed through channels.
func skynetNode(c chan int, num, size int) {
	if size == 1 {
		c <- num
		return
	}
	rc := make(chan int)
	for i := 0; i < skynetChildren; i++ {
		go skynetNode(rc, num+i*(size/skynetChildren), size/skynetChildren)
	}
	sum := 0
	for i := 0; i < skynetChildren; i++ {
		sum += <-rc
	}
	c <- sum
}

func skynet(n int) bool {
	c := make(chan int)
	go skynetNode(c, 0, n)
	return <-c == sumBelow(n)
}

// syscall.Syscall tells the scheduler, as a blocking section does; RawSyscall would not.
func section(n int) bool {
	sum := 0
	for i := 0; i < n; i++ {
		if pid, _, _ := syscall.Syscall(syscall.SYS_GETPPID, 0, 0, 0); pid > 0 {
			sum++
		}
	}
	return sum == n
}

var cases = map[string]func(int) bool{
	"handoff": handoff, "buffered": buffered, "pingpong": pingpong, "select4": select4, "mutex": mutex,
	"mutex_short": mutexShort, "spawn_join": spawnJoin, "skynet": skynet, "section": section,
}

func usage() (cpu, peakRSS int64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano(), u.Maxrss * 1024
}

func main() {
	if len(os.Args) < 4 {
		log.Fatalf("usage: %s CASE GOMAXPROCS OPERATIONS", os.Args[0])
	}
	body := cases[os.Args[1]]
	procs, _ := strconv.Atoi(os.Args[2])
	n, _ := strconv.Atoi(os.Args[3])
	if body == nil || procs < 1 || n < 1000 {
		log.Fatal("bad arguments")
	}
	runtime.GOMAXPROCS(procs)
	ok := body(n / 10)
	cpu, _ := usage()
	begin := time.Now()
	ok = body(n) && ok
	wall := time.Since(begin).Nanoseconds()
	cpuEnd, rss := usage()
	fmt.Printf("{\"case\": \"%s\", \"gomaxprocs\": %d, \"operations\": %d, \"wall_ns\": %.2f, \"cpu_ns\": %.2f, \"peak_rss\": %d, \"ok\": %t}\n",
		os.Args[1], procs, n, float64(wall)/float64(n), float64(cpuEnd-cpu)/float64(n), rss, ok)
	if !ok {
		os.Exit(1)
	}
}
