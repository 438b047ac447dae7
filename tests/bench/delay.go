package main

import (
	"net"
	"sync"
	"time"
)

const (
	roundTrip    = 50 * time.Millisecond // that delay adds
	delayAddress = "127.0.0.1:15062"
)

// delay makes the node appear far away: bytes through delayAddress arrive half a round
// trip later, at full speed. Connecting takes no time, as if connections were kept.
func (b *bench) delay() (stop func(), err error) {
	l, err := net.Listen("tcp", delayAddress)
	if err != nil {
		return nil, err
	}
	go between(l, func(near, far net.Conn) {
		go forward(far, near)
		go forward(near, far)
	})
	return func() { l.Close() }, nil
}

// between connects the clients of a listener with the node, until the listener is closed.
func between(l net.Listener, connect func(near, far net.Conn)) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", nodeGateway)
		if err != nil {
			near.Close()
			continue
		}
		connect(near, far)
	}
}

// late is a piece of data and the time at which it arrives.
type late struct {
	buf *[64 << 10]byte
	n   int
	at  time.Time
}

var lateBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// onTheWay is how many pieces are on their way at most, enough for 600 MB a second. With
// more, a whole layer would be on its way before the client reads it.
const onTheWay = 256

// forward copies from one connection to another, and closes both when one is closed.
func forward(to, from net.Conn) {
	way := make(chan late, onTheWay)
	go func() {
		defer close(way)
		for {
			buf := lateBuffers.Get().(*[64 << 10]byte)
			n, err := from.Read(buf[:])
			if err != nil {
				return
			}
			way <- late{buf, n, time.Now().Add(roundTrip / 2)}
		}
	}()
	defer to.Close()
	var failed error
	for piece := range way {
		if failed != nil {
			continue // until the goroutine above has ended
		}
		time.Sleep(time.Until(piece.at))
		if _, failed = to.Write(piece.buf[:piece.n]); failed != nil {
			from.Close()
		}
		lateBuffers.Put(piece.buf)
	}
}
