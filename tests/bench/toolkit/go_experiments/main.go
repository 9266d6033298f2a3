// The Go programs of the published experiments; each is the twin of a fiberd program in this folder's parent.
//
//	go_experiments counters mutex|atomic|sharded threads|fibers
//	go_experiments pool PORT DOWNSTREAM-PORT WORKERS        (0: unbounded)
//	go_experiments overload PORT SLOTS HOLD-US RATE         (0: no bucket)
package main

import (
	"log"
	"os"
	"strconv"
)

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		log.Fatal(err)
	}
	return n
}

func main() {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "counters":
		counters(os.Args[2], os.Args[3] == "threads")
	case len(os.Args) == 5 && os.Args[1] == "pool":
		pool(os.Args[2], os.Args[3], number(4))
	case len(os.Args) == 6 && os.Args[1] == "overload":
		overload(os.Args[2], number(3), number(4), number(5))
	default:
		log.Fatal("bad arguments")
	}
}
