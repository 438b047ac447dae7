package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	crowdSize    = 200 // clients that want the same layer at once
	limitAddress = "127.0.0.1:15064"
	limitRate    = 50e6 // bytes a second that the gateway sends
)

// crowd measures many clients that pull the same layer at once. The store does not have
// it, and the gateway is slow.
func (b *bench) crowd(p published) error {
	gateway, err := b.limit()
	if err != nil {
		return err
	}
	defer gateway.Close()
	s, err := b.caddy(ourAddress, "ipfs_registry http://"+limitAddress+" {\n\tstore "+filepath.Join(b.work, "cache")+"\n}")
	if err != nil {
		return err
	}
	defer s.stop()
	defer os.RemoveAll(filepath.Join(b.work, "cache"))
	idle, err := s.memory("VmRSS")
	if err != nil {
		return err
	}
	url := s.url + p.inRegistry(p.layer)
	cold, err := together(url, p.size)
	if err != nil {
		return err
	}
	fetched := gateway.sent.Load()
	most, err := s.memory("VmHWM")
	if err != nil {
		return err
	}
	warm, err := together(url, p.size)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d clients of a cold layer, ", crowdSize)
	report(name+"bytes from the gateway : layer", float64(fetched)/float64(p.size), 1.01, fmt.Sprintf("%.1f of %.1f MB", float64(fetched)/1e6, float64(p.size)/1e6))
	alone := float64(p.size) / limitRate
	report(name+"time : warm and the gateway's", cold.Seconds()/(warm.Seconds()+1.2*alone), 1,
		fmt.Sprintf("%.1f s; warm %.1f, the gateway alone %.1f", cold.Seconds(), warm.Seconds(), alone))
	report(name+"memory", float64(most-idle)/(1<<20), 160, fmt.Sprintf("MiB beside %d", idle>>20))
	return b.ctx.Err()
}

// together has a crowd download the file at a URL, and returns the time until the last
// client had it.
func together(url string, size int64) (time.Duration, error) {
	start := time.Now()
	var clients errgroup.Group
	for range crowdSize {
		clients.Go(func() error { return download(url, size) })
	}
	err := clients.Wait()
	return time.Since(start), err
}

// A limited is a proxy for the node. All its connections together carry limitRate.
type limited struct {
	net.Listener
	sent atomic.Int64 // bytes from the node

	mu   sync.Mutex
	free time.Time // when the next byte may pass
}

func (b *bench) limit() (*limited, error) {
	l, err := net.Listen("tcp", limitAddress)
	if err != nil {
		return nil, err
	}
	gateway := &limited{Listener: l}
	go between(l, func(near, far net.Conn) {
		go gateway.copy(far, near, func(int) {})
		go gateway.copy(near, far, gateway.take)
	})
	return gateway, nil
}

// copy copies from one connection to another until one is closed, and closes both.
func (l *limited) copy(to, from net.Conn, take func(n int)) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		take(n)
		if _, failed := to.Write(buf[:n]); failed != nil || err != nil {
			return
		}
	}
}

// take waits for as long as n bytes take at limitRate.
func (l *limited) take(n int) {
	l.sent.Add(int64(n))
	l.mu.Lock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / limitRate * float64(time.Second)))
	until := l.free
	l.mu.Unlock()
	time.Sleep(time.Until(until))
}
