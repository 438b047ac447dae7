package registry

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

// A blockedWriter takes nothing until it is told to, like a client that does not read.
type blockedWriter struct {
	http.ResponseWriter
	writes, take chan int
	deadlines    int
}

func (w *blockedWriter) Write(b []byte) (int, error) {
	w.writes <- len(b)
	<-w.take
	return len(b), nil
}

func (w *blockedWriter) SetWriteDeadline(time.Time) error {
	w.deadlines++
	return nil
}

// A client is let go once it took too little for a whole period. A slow client, and one
// that waits for the registry, are not.
func TestPatienceWithReaders(t *testing.T) {
	w := &blockedWriter{ResponseWriter: httptest.NewRecorder(), writes: make(chan int), take: make(chan int)}
	p := newPatientWriter(w, time.Hour)
	defer p.stop()
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range 3 {
			io.Copy(p, bytes.NewReader(make([]byte, readerStep)))
		}
	}()
	p.look() // before the first write
	p.look()
	for range 2 {
		<-w.writes
		p.look()
		w.take <- 1
		// The next write waits from now on, but the client took a step in this period.
	}
	<-w.writes
	p.look()
	if w.deadlines != 0 {
		t.Error("a client that takes a step in every period is let go")
	}
	p.look()
	if w.deadlines != 1 {
		t.Errorf("%d deadlines for a client that takes nothing", w.deadlines)
	}
	w.take <- 1
	<-written
}

// A file's offset is the progress of a call that sends all of it.
func TestPatienceWithReadersOfFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, make([]byte, 3*readerStep), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := newPatientWriter(httptest.NewRecorder(), time.Hour)
	defer p.stop()
	p.file.Store(f)
	for _, offset := range []int64{0, 2 * readerStep} {
		f.Seek(offset, io.SeekStart)
		if got := p.taken(); got != offset {
			t.Errorf("at offset %d, %d bytes are taken", offset, got)
		}
	}
}

// The connection of a client that reads nothing is closed, whatever the source.
func TestClientThatReadsNothingIsLetGo(t *testing.T) {
	im := imagestest.New(t)
	for source, handler := range sources {
		s := newSite(t, handler(t, im))
		s.registry.ReaderPatience = 50 * time.Millisecond
		server := httptest.NewUnstartedServer(s)
		closed := make(chan struct{})
		server.Config.ConnState = func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				c.(*net.TCPConn).SetWriteBuffer(4 << 10)
			case http.StateClosed:
				close(closed)
			}
		}
		server.Start()
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", im.BlobURL(t, im.Layer))
		<-closed
		conn.Close()
		server.Close()
		if len(s.logged("client does not read, its connection is closed")) != 1 || len(s.logged("blob cut off")) != 0 {
			t.Errorf("%s: logged %v", source, s.logs.All())
		}
	}
}
