// The workloads of `greenroutine bench` on Go's runtime. One line a figure: `name value unit`.
//
// Usage: peers-go [workload ...], all of them without arguments. GOMAXPROCS is honoured.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func report(name string, value float64, unit string) {
	fmt.Printf("%s %.3f %s\n", name, value, unit)
}

func per(taken time.Duration, count int) float64 {
	return float64(taken.Nanoseconds()) / float64(count)
}

// Two goroutines that yield, per yield.
func yields() {
	const count = 2_000_000
	var both sync.WaitGroup
	both.Add(2)
	start := time.Now()
	for g := 0; g < 2; g++ {
		go func() {
			defer both.Done()
			for i := 0; i < count; i++ {
				runtime.Gosched()
			}
		}()
	}
	both.Wait()
	report("yield", per(time.Since(start), 2*count), "ns/yield")
}

// Spawns a goroutine and waits for it, one after the other.
func spawnjoin() {
	const count = 1_000_000
	done := make(chan struct{})
	start := time.Now()
	for i := 0; i < count; i++ {
		go func() { done <- struct{}{} }()
		<-done
	}
	report("spawnjoin", per(time.Since(start), count), "ns/task")
}

// Spawns 10,000 goroutines and waits for all; repeated.
func spawnbatch() {
	const batch, rounds = 10_000, 100
	start := time.Now()
	for r := 0; r < rounds; r++ {
		var all sync.WaitGroup
		all.Add(batch)
		for i := 0; i < batch; i++ {
			go all.Done()
		}
		all.Wait()
	}
	report("spawnbatch10k", per(time.Since(start), batch*rounds), "ns/task")
}

// A tree of goroutines, ten below each, that hands its leaves' numbers up through channels.
func skynetNode(up chan<- int, number, size int) {
	if size == 1 {
		up <- number
		return
	}
	results := make(chan int)
	part := size / 10
	for at := 0; at < 10; at++ {
		go skynetNode(results, number+at*part, part)
	}
	sum := 0
	for at := 0; at < 10; at++ {
		sum += <-results
	}
	up <- sum
}

func skynet(name string) {
	const leaves, rounds = 1_000_000, 5
	best := time.Duration(1<<63 - 1)
	for r := 0; r < rounds; r++ {
		result := make(chan int)
		start := time.Now()
		go skynetNode(result, 0, leaves)
		if sum := <-result; sum != leaves*(leaves-1)/2 {
			panic(sum)
		}
		best = min(best, time.Since(start))
	}
	// Go has no join, so this stands beside both of ours.
	report(name, float64(best.Nanoseconds())/1e6, "ms (best of 5)")
}

// A round trip over two unbuffered channels.
func pingpong() {
	const count = 1_000_000
	there, back := make(chan int), make(chan int)
	go func() {
		for v := range there {
			back <- v
		}
	}()
	start := time.Now()
	for n := 0; n < count; n++ {
		there <- n
		<-back
	}
	report("pingpong", per(time.Since(start), count), "ns/roundtrip")
	close(there)
}

// One producer, one consumer, 128 in between.
func stream() {
	const count = 5_000_000
	c := make(chan int, 128)
	start := time.Now()
	go func() {
		for n := 0; n < count; n++ {
			c <- n
		}
		close(c)
	}()
	sum := 0
	for v := range c {
		sum += v
	}
	report("stream128", per(time.Since(start), count), "ns/item")
	if sum != count*(count-1)/2 {
		panic(sum)
	}
}

// Eight producers and eight consumers over one channel with 64 places.
func mpmc() {
	const each, count = 8, 250_000
	c := make(chan int, 64)
	var producers, consumers sync.WaitGroup
	start := time.Now()
	for g := 0; g < each; g++ {
		producers.Go(func() {
			for n := 0; n < count; n++ {
				c <- n
			}
		})
		consumers.Go(func() {
			for range c {
			}
		})
	}
	producers.Wait()
	close(c)
	consumers.Wait()
	report("mpmc8x8", per(time.Since(start), each*count), "ns/item")
}

// A ring of 503 goroutines that pass a token on.
func ring() {
	const nodes, hops = 503, 1_000_000
	first, done := make(chan int), make(chan struct{})
	input := first
	for node := 0; node < nodes; node++ {
		out := make(chan int)
		if node == nodes-1 {
			out = first
		}
		go func(r <-chan int) {
			for left := range r {
				if left == 0 {
					close(done)
					return
				}
				out <- left - 1
			}
		}(input)
		input = out
	}
	start := time.Now()
	first <- hops
	<-done
	report("ring503", per(time.Since(start), hops), "ns/hop")
}

// The first 2,000 primes: a goroutine for each that lets through what it does not divide.
func sieve() {
	const primes = 2_000
	start := time.Now()
	input := make(chan int)
	go func(s chan<- int) {
		for n := 2; ; n++ {
			s <- n
		}
	}(input)
	prime := 0
	for p := 0; p < primes; p++ {
		prime = <-input
		next := make(chan int)
		go func(r <-chan int, s chan<- int, prime int) {
			for n := range r {
				if n%prime != 0 {
					s <- n
				}
			}
		}(input, next, prime)
		input = next
	}
	report("sieve2000", float64(time.Since(start).Nanoseconds())/1e6, "ms")
	if prime != 17389 {
		panic(prime)
	}
}

// Receives from whichever of two producers is ready.
func selects() {
	const count = 1_000_000
	a, b := make(chan int), make(chan int)
	for _, c := range []chan int{a, b} {
		go func() {
			for n := 0; n < count/2; n++ {
				c <- n
			}
		}()
	}
	start := time.Now()
	for n := 0; n < count; n++ {
		select {
		case <-a:
		case <-b:
		}
	}
	report("select2", per(time.Since(start), count), "ns/select")
}

// A million goroutines that wait: memory, and the time to spawn and to wake them.
func parked() {
	const count = 1_000_000
	runtime.GC()
	before := heldBytes()
	gate := make(chan struct{})
	var toCome sync.WaitGroup
	toCome.Add(count)
	start := time.Now()
	for i := 0; i < count; i++ {
		go func() {
			toCome.Done()
			<-gate
		}()
	}
	toCome.Wait()
	spawn := time.Since(start)
	report("parked1M.mem", float64(heldBytes()-before)/count, "bytes/goroutine")
	report("parked1M.spawn", per(spawn, count), "ns/goroutine (cold)")
	report("parked1M.maps", float64(mappings()), "mappings")
	start = time.Now()
	close(gate)
	for runtime.NumGoroutine() > 1 {
		time.Sleep(time.Millisecond)
	}
	report("parked1M.wake", per(time.Since(start), count), "ns/goroutine")
}

// Recursion 400,000 deep on a new goroutine.
//
//go:noinline
func deep(n int, pad [64]byte) int {
	pad[n&63]++
	if n == 0 {
		return int(pad[0])
	}
	return deep(n-1, pad) + int(pad[1])
}

func recurse() {
	const depth = 400_000
	done := make(chan int)
	start := time.Now()
	go func() { done <- deep(depth, [64]byte{}) }()
	<-done
	report("recurse400k.cold", float64(time.Since(start).Nanoseconds())/1e3, "us")
}

// How late a goroutine wakes that sleeps 1 ms, 200 times, while GOMAXPROCS goroutines spin.
func fairness() {
	const naps, nap = 200, time.Millisecond
	var stop atomic.Bool
	var sink atomic.Uint64
	for g := 0; g < runtime.GOMAXPROCS(0); g++ {
		go func() {
			x := uint64(g)
			for !stop.Load() {
				for i := 0; i < 1<<16; i++ {
					x = x*6364136223846793005 + 1
				}
			}
			sink.Add(x)
		}()
	}
	worst := time.Duration(0)
	for i := 0; i < naps; i++ {
		start := time.Now()
		time.Sleep(nap)
		worst = max(worst, time.Since(start)-nap)
	}
	stop.Store(true)
	report("fairness.worst", float64(worst.Nanoseconds())/1e3, "us late")
}

// Eight goroutines that do nothing but lock a mutex, per lock.
func mutex() {
	const goroutines, count = 8, 500_000
	report("mutex8", per(onOneMutex(goroutines, count, func() {}), goroutines*count), "ns/lock")
}

// Four goroutines that yield while they hold a mutex (zio's issue 574), per lock.
func mutexyield() {
	const goroutines, count = 4, 100_000
	report("mutexyield4", per(onOneMutex(goroutines, count, runtime.Gosched), goroutines*count), "ns/lock")
}

// One goroutine that puts a value into a pool and takes it out, per pair: Go's BenchmarkPool. For benches/pool.rs.
func pool() {
	const count = 20_000_000
	var values sync.Pool
	start := time.Now()
	for i := 0; i < count; i++ {
		values.Put(1)
		if values.Get() == nil {
			runtime.Gosched()
		}
	}
	report("pool", per(time.Since(start), count), "ns/pair")
}

// The time that goroutines take to add one, count times each, and do inside while they hold the mutex.
func onOneMutex(goroutines, count int, inside func()) time.Duration {
	var mutex sync.Mutex
	var all sync.WaitGroup
	sum := 0
	all.Add(goroutines)
	start := time.Now()
	for g := 0; g < goroutines; g++ {
		go func() {
			defer all.Done()
			for i := 0; i < count; i++ {
				mutex.Lock()
				sum++
				inside()
				mutex.Unlock()
			}
		}()
	}
	all.Wait()
	taken := time.Since(start)
	if sum != goroutines*count {
		panic("every lock counts")
	}
	return taken
}

// 100,000 goroutines that sleep for 10 ms; and how late a sleeper of 50 µs is when nothing else goes on.
func timers() {
	const sleepers = 100_000
	var all sync.WaitGroup
	all.Add(sleepers)
	start := time.Now()
	for i := 0; i < sleepers; i++ {
		go func() {
			defer all.Done()
			time.Sleep(10 * time.Millisecond)
		}()
	}
	all.Wait()
	report("timers100k", time.Since(start).Seconds()*1e3, "ms")
	woken := make([]time.Duration, 1000)
	for i := range woken {
		start := time.Now()
		time.Sleep(50 * time.Microsecond)
		woken[i] = time.Since(start)
	}
	slices.Sort(woken)
	report("sleep50us", float64(woken[len(woken)/2].Nanoseconds())/1e3, "µs (median)")
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// 1,000 connections, each with one message on its way.
func echo(name string, size, rounds int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, size)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					if _, err := conn.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	measure(name, listener.Addr().String(), rounds, func(conn net.Conn, buf []byte) {
		_, err := conn.Write(buf[:size])
		must(err)
		_, err = io.ReadFull(conn, buf[:size])
		must(err)
	})
	listener.Close()
}

// 1,000 connections that are kept alive, each with one request on its way. The clients know how long the answer is.
func httpServer() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "Hello, World!")
	})}
	go server.Serve(listener)
	request := []byte("GET /plaintext HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	measure("http", listener.Addr().String(), 200, func(conn net.Conn, buf []byte) {
		_, err := conn.Write(request)
		must(err)
		length := 0
		for !bytes.HasSuffix(buf[:length], []byte("Hello, World!")) {
			n, err := conn.Read(buf[length:])
			must(err)
			length += n
		}
	})
	server.Close()
}

// Connects all clients, then has each make its round trips.
func measure(name, address string, rounds int, trip func(conn net.Conn, buf []byte)) {
	const clients = 1000
	trips := make([][]time.Duration, clients)
	var ready, all sync.WaitGroup
	begin := make(chan struct{})
	ready.Add(clients)
	all.Add(clients)
	for c := range trips {
		go func() {
			defer all.Done()
			conn, err := net.Dial("tcp", address)
			must(err)
			defer conn.Close()
			buf := make([]byte, 16<<10)
			trip(conn, buf)
			ready.Done()
			<-begin
			for i := 0; i < rounds; i++ {
				start := time.Now()
				trip(conn, buf)
				trips[c] = append(trips[c], time.Since(start))
			}
		}()
	}
	ready.Wait()
	start := time.Now()
	close(begin)
	all.Wait()
	taken := time.Since(start)
	every := slices.Concat(trips...)
	slices.Sort(every)
	report(name, per(taken, len(every)), "ns/trip")
	report(name+"p99", float64(every[len(every)*99/100].Nanoseconds())/1e6, "ms")
}

// Bytes of physical memory that the process holds, page tables included (VmRSS + VmPTE).
func heldBytes() int64 {
	status := lines("/proc/self/status")
	var rss, tables int64
	for _, line := range status {
		fmt.Sscanf(line, "VmRSS: %d kB", &rss)
		fmt.Sscanf(line, "VmPTE: %d kB", &tables)
	}
	return (rss + tables) * 1024
}

func mappings() int { return len(lines("/proc/self/maps")) }

func lines(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func main() {
	workloads := []struct {
		name string
		run  func()
	}{{"yield", yields}, {"spawnjoin", spawnjoin}, {"spawnbatch", spawnbatch}, {"skynet", func() { skynet("skynet1M") }},
		{"skynetchan", func() { skynet("skynetchan1M") }}, {"pingpong", pingpong}, {"stream", stream}, {"mpmc", mpmc},
		{"ring", ring}, {"sieve", sieve}, {"select", selects}, {"mutex", mutex}, {"mutexyield", mutexyield}, {"pool", pool},
		{"timers", timers}, {"echo", func() { echo("echo64", 64, 300); echo("echo16k", 16<<10, 100) }}, {"http", httpServer},
		{"parked", parked}, {"recurse", recurse}, {"fairness", fairness}}
	for _, workload := range workloads {
		chosen := len(os.Args) < 2
		for _, name := range os.Args[1:] {
			chosen = chosen || name == workload.name
		}
		if chosen {
			workload.run()
		}
	}
}
