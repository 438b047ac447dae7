package lies

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	stdlog "log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A lie is a way to falsify certain answers.
type lie struct {
	name  string
	mode  mode  // of the gateway that tells it
	form  form  // of the answers that it falsifies
	every bool  // it falsifies answers of every form
	place place // what it falsifies in an answer
	tell  func(*lieBeingTold)
	slow  bool // it uses up the registry's patience
	proof bool // it contains the whole truth, so it may prove the same
	once  bool // one mode of gateway is enough, since it is costly and the same for all
	fair  bool // it was true before, and without another gateway nothing shows that it no longer is
}

func (l lie) String() string {
	form := [...]string{"file", "CAR", "block", "IPNS record"}[l.form]
	if l.every {
		form = "answer"
	}
	return fmt.Sprintf("%s gateway, %s: %s, %s", l.mode, form, l.place, l.name)
}

func (l lie) applies(a *answer) bool {
	_, there := a.places[l.place]
	return there && (l.every || l.form == a.form)
}

func (l lie) where(a *answer) span { return a.places[l.place] }

// A lieBeingTold is a lie in answer to a request.
type lieBeingTold struct {
	w     http.ResponseWriter
	r     *http.Request
	truth *answer
	where span
	other *answer // the true answer about another image
	older *answer // the replaced record of the same name

	elsewhere string // a URL
}

// allLies returns all lies: those about some bytes of an answer, for every place that
// answers of a form have, and those about whole answers.
func allLies() []lie {
	var lies []lie
	for _, at := range []struct {
		mode   mode
		form   form
		places []place
	}{
		{full, asFile, []place{anywhere}},
		{full, asCAR, []place{header, section, directory, node, leaf}},
		{full, asBlock, []place{node}},
		{trustlessOnly, asCAR, []place{header, directory, node, leaf}},
		{rawOnly, asBlock, []place{directory, node, leaf}},
		{full, asRecord, []place{anywhere}},
	} {
		for _, p := range at.places {
			for _, about := range aboutBytes(p) {
				about.mode, about.form, about.place = at.mode, at.form, p
				lies = append(lies, about)
			}
		}
	}
	for _, about := range aboutAnswers() {
		about.place = anywhere
		for m := range modes {
			about.mode, about.every = m, true
			lies = append(lies, about)
			if about.once {
				break
			}
		}
		if !about.once {
			for _, f := range []form{asFile, asRecord} {
				about.mode, about.form, about.every = full, f, false
				lies = append(lies, about)
			}
		}
	}
	return append(lies, lie{name: "an older one", mode: full, form: asRecord, place: anywhere, fair: true, tell: func(l *lieBeingTold) {
		l.write(http.StatusOK, l.older.body)
	}})
}

// quick returns the lies that do not use up the registry's patience.
func quick(lies []lie) []lie {
	return slices.DeleteFunc(slices.Clone(lies), func(l lie) bool { return l.slow })
}

func slow(lies []lie) []lie {
	return slices.DeleteFunc(slices.Clone(lies), func(l lie) bool { return !l.slow })
}

// aboutBytes returns the lies about the bytes at a place.
func aboutBytes(where place) []lie {
	var lies []lie
	for p := range positions {
		for _, l := range []lie{
			{name: "%s byte changed", tell: func(l *lieBeingTold) { l.change(p) }},
			{name: "breaks off before the %s byte", tell: func(l *lieBeingTold) {
				l.breakOff(l.truth.body[:l.where.at(p)], false)
			}},
			{name: "is reset before the %s byte", tell: func(l *lieBeingTold) {
				l.breakOff(l.truth.body[:l.where.at(p)], true)
			}},
			{name: "ends before the %s byte", tell: func(l *lieBeingTold) {
				l.write(l.truth.status, l.truth.body[:l.where.at(p)])
			}},
			{name: "ends before the %s byte, and does not say how long it is", tell: func(l *lieBeingTold) {
				l.chunked(l.truth.body[:l.where.at(p)])
			}},
			{name: "something before the %s byte", tell: func(l *lieBeingTold) {
				l.chunked(slices.Insert(bytes.Clone(l.truth.body), l.where.at(p), []byte("something")...))
			}},
			{name: "hangs before the %s byte", slow: true, tell: func(l *lieBeingTold) {
				l.hang(l.truth.body[:l.where.at(p)])
			}},
			{name: "drips from the %s byte", slow: true, tell: func(l *lieBeingTold) {
				l.drip(l.truth.body, l.where.at(p))
			}},
		} {
			if l.slow && p == last && strings.HasPrefix(l.name, "drips") {
				continue // a last byte that comes late is no lie
			}
			l.name = fmt.Sprintf(l.name, p)
			lies = append(lies, l)
		}
	}
	lies = append(lies,
		lie{name: "is left out", tell: func(l *lieBeingTold) {
			l.write(l.truth.status, slices.Concat(l.truth.body[:l.where.from], l.truth.body[l.where.to:]))
		}},
		lie{name: "is zeros", tell: func(l *lieBeingTold) {
			l.replace(make([]byte, l.where.to-l.where.from))
		}},
		lie{name: "comes twice", tell: func(l *lieBeingTold) {
			l.write(l.truth.status, slices.Insert(bytes.Clone(l.truth.body), l.where.to, l.truth.body[l.where.from:l.where.to]...))
		}},
		lie{name: "never ends", tell: func(l *lieBeingTold) {
			l.endless(l.truth.body[:l.where.to], l.truth.body[l.where.from:l.where.to])
		}})
	if where != anywhere {
		lies = append(lies, lie{name: "is another valid block", tell: func(l *lieBeingTold) { l.otherBlock() }})
	}
	return lies
}

// aboutAnswers returns the lies about whole answers.
func aboutAnswers() []lie {
	lies := []lie{
		{name: "of another image", tell: func(l *lieBeingTold) { l.header(l.other.header); l.write(l.truth.status, l.other.body) }},
		{name: "nothing", tell: func(l *lieBeingTold) { l.write(http.StatusOK, nil) }},
		{name: "no content", tell: func(l *lieBeingTold) { l.status("204 No Content") }},
		{name: "not modified", tell: func(l *lieBeingTold) { l.status("304 Not Modified") }},
		{name: "with more after its end", proof: true, tell: func(l *lieBeingTold) { l.write(l.truth.status, append(bytes.Clone(l.truth.body), "more"...)) }},
		{name: "with more and more after its end", proof: true, tell: func(l *lieBeingTold) { l.endless(l.truth.body, l.truth.body) }},
		{name: "endless noise", tell: func(l *lieBeingTold) { l.endless(nil, []byte(harness.Noise(1<<16))) }},
		{name: "endless header", once: true, tell: func(l *lieBeingTold) { l.endlessHeader("HTTP/1.1 200 OK\r\n", "X-More: and more\r\n") }},
		{name: "endless header line", once: true, tell: func(l *lieBeingTold) { l.endlessHeader("HTTP/1.1 200 OK\r\nX-More: ", "and more") }},
		{name: "endless early hints", once: true, tell: func(l *lieBeingTold) { l.endlessHeader("", "HTTP/1.1 103 Early Hints\r\n\r\n") }},
		{name: "a page", tell: func(l *lieBeingTold) { l.page(http.StatusOK) }},
		{name: "a page of the right type", tell: func(l *lieBeingTold) { l.write(http.StatusOK, []byte(htmlPage)) }},
		{name: "not HTTP", tell: func(l *lieBeingTold) { l.bytes("SSH-2.0-OpenSSH_9.2\r\n", false) }},
		{name: "closed", tell: func(l *lieBeingTold) { l.bytes("", false) }},
		{name: "reset", tell: func(l *lieBeingTold) { l.bytes("", true) }},
		{name: "too small a Content-Length", tell: func(l *lieBeingTold) { l.announce(len(l.truth.body) - 1) }},
		{name: "too large a Content-Length", proof: true, tell: func(l *lieBeingTold) { l.announce(len(l.truth.body) + 1) }},
		{name: "a huge Content-Length", proof: true, tell: func(l *lieBeingTold) { l.announce(1 << 62) }},
		{name: "Content-Length: 0", tell: func(l *lieBeingTold) { l.announce(0) }},
		{name: "two Content-Lengths", tell: func(l *lieBeingTold) {
			l.header(http.Header{"Content-Length": {strconv.Itoa(len(l.truth.body)), "5"}})
			l.bytes(l.head(l.truth.status, l.w.Header())+string(l.truth.body), false)
		}},
		{name: "a wrong Content-Range", proof: true, tell: func(l *lieBeingTold) {
			l.part(fmt.Sprintf("bytes 1-%d/%d", len(l.truth.body), len(l.truth.body)+1))
		}},
		{name: "a malformed Content-Range", proof: true, tell: func(l *lieBeingTold) { l.part("bytes -1--2/x") }},
		{name: "206 without a Content-Range", proof: true, tell: func(l *lieBeingTold) { l.part("") }},
		{name: "200 for a range, with only the part", proof: true, tell: func(l *lieBeingTold) {
			l.header(http.Header{"Content-Range": nil})
			l.write(http.StatusOK, l.truth.body)
		}},
		{name: "416", tell: func(l *lieBeingTold) { l.unsatisfied("bytes */0") }},
		{name: "416 without a size", tell: func(l *lieBeingTold) { l.unsatisfied("") }},
		{name: "gzipped", tell: func(l *lieBeingTold) {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(l.truth.body)
			z.Close()
			l.header(http.Header{"Content-Encoding": {"gzip"}})
			l.write(l.truth.status, b.Bytes())
		}},
		{name: "said to be gzipped", tell: func(l *lieBeingTold) {
			l.header(http.Header{"Content-Encoding": {"gzip"}})
			l.write(l.truth.status, l.truth.body)
		}},
		{name: "redirected in circles", tell: func(l *lieBeingTold) { l.redirect(l.r.URL.String()) }},
		{name: "redirected to metadata", tell: func(l *lieBeingTold) { l.redirect(l.elsewhere + "/latest/meta-data/") }},
		{name: "redirected to nowhere", tell: func(l *lieBeingTold) { l.redirect("::") }},
		{name: "redirected to a missing page", tell: func(l *lieBeingTold) { l.redirect("/nothing") }},
		{name: "hangs", slow: true, tell: func(l *lieBeingTold) { <-l.r.Context().Done() }},
		{name: "hangs after the header", slow: true, tell: func(l *lieBeingTold) { l.hang(nil) }},
		{name: "drips", slow: true, tell: func(l *lieBeingTold) { l.drip(l.truth.body, 0) }},
	}
	for _, status := range []int{400, 401, 403, 404, 410, 418, 429, 451, 500, 502, 503, 504} {
		lies = append(lies, lie{name: http.StatusText(status), tell: func(l *lieBeingTold) { l.page(status) }})
	}
	return lies
}

const htmlPage = "<!DOCTYPE html><title>a page</title>"

func (l *lieBeingTold) header(h http.Header) { maps.Copy(l.w.Header(), h) }

// start sends the header: the fields that the lie has set, and the other fields of the
// true answer.
func (l *lieBeingTold) start(status int) {
	for name, values := range l.truth.header {
		if _, set := l.w.Header()[name]; !set {
			l.w.Header()[name] = values
		}
	}
	l.w.WriteHeader(status)
}

func (l *lieBeingTold) write(status int, body []byte) {
	l.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	l.start(status)
	l.w.Write(body)
}

// chunked sends a body without a Content-Length, and ends it properly.
func (l *lieBeingTold) chunked(body []byte) {
	l.header(http.Header{"Content-Length": nil})
	l.start(l.truth.status)
	http.NewResponseController(l.w).Flush()
	l.w.Write(body)
}

// change flips a bit of a byte.
func (l *lieBeingTold) change(p position) {
	body := bytes.Clone(l.truth.body)
	body[l.where.at(p)] ^= 1
	l.write(l.truth.status, body)
}

func (l *lieBeingTold) replace(with []byte) {
	l.write(l.truth.status, slices.Concat(l.truth.body[:l.where.from], with, l.truth.body[l.where.to:]))
}

// otherBlock replaces a block by one of another image.
func (l *lieBeingTold) otherBlock() {
	if l.truth.form == asBlock {
		l.replace(l.other.body)
		return
	}
	at := l.other.places[directory]
	l.replace(l.other.body[at.from:at.to])
}

func (l *lieBeingTold) page(status int) {
	l.header(http.Header{"Content-Type": {"text/html"}, "Content-Range": nil})
	l.write(status, []byte(htmlPage))
}

func (l *lieBeingTold) unsatisfied(contentRange string) {
	l.header(http.Header{"Content-Range": {contentRange}})
	l.write(http.StatusRequestedRangeNotSatisfiable, nil)
}

func (l *lieBeingTold) part(contentRange string) {
	l.header(http.Header{"Content-Range": {contentRange}})
	l.write(http.StatusPartialContent, l.truth.body)
}

func (l *lieBeingTold) redirect(to string) {
	l.header(http.Header{"Location": {to}})
	l.write(http.StatusMovedPermanently, nil)
}

// hang sends some bytes and then nothing.
func (l *lieBeingTold) hang(some []byte) {
	l.header(http.Header{"Content-Length": {strconv.Itoa(len(l.truth.body))}})
	l.start(l.truth.status)
	l.w.Write(some)
	http.NewResponseController(l.w).Flush()
	<-l.r.Context().Done()
}

// drip sends one byte every 200 ms, from an offset on.
func (l *lieBeingTold) drip(body []byte, from int) {
	l.header(http.Header{"Content-Length": {strconv.Itoa(len(body))}})
	l.start(l.truth.status)
	l.w.Write(body[:from])
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for _, b := range body[from:] {
		l.w.Write([]byte{b})
		http.NewResponseController(l.w).Flush()
		select {
		case <-tick.C:
		case <-l.r.Context().Done():
			return
		}
	}
}

// tooMuch is how many bytes of an endless answer are sent: more than the registry should
// read, and few enough for a test if it does read them.
const tooMuch = 12 << 20

// endless sends some bytes, and then others again and again.
func (l *lieBeingTold) endless(some, again []byte) {
	l.header(http.Header{"Content-Length": nil})
	l.start(l.truth.status)
	http.NewResponseController(l.w).Flush()
	for n := len(some); n < tooMuch; n += len(again) {
		if _, err := l.w.Write(some); err != nil {
			return
		}
		some = again
	}
	panic(http.ErrAbortHandler) // so that the body has no proper end
}

// The following functions write to the connection what net/http would not send.

func (l *lieBeingTold) connection(use func(net.Conn, *bufio.Writer)) {
	conn, rw, err := http.NewResponseController(l.w).Hijack()
	if err != nil {
		return // the client has left
	}
	defer conn.Close()
	use(conn, rw.Writer)
	rw.Flush()
}

func (l *lieBeingTold) bytes(b string, reset bool) {
	l.connection(func(c net.Conn, w *bufio.Writer) {
		w.WriteString(b)
		w.Flush()
		if tcp, is := c.(*net.TCPConn); is && reset {
			tcp.SetLinger(0)
		}
	})
}

func (l *lieBeingTold) endlessHeader(some, again string) {
	l.connection(func(_ net.Conn, w *bufio.Writer) {
		w.WriteString(some)
		for n := 0; n < tooMuch; n += len(again) {
			if _, err := w.WriteString(again); err != nil {
				return
			}
		}
	})
}

// head returns the status line and header of the true answer, with the fields that the lie
// sets.
func (l *lieBeingTold) head(status int, set http.Header) string {
	h := l.truth.header.Clone()
	maps.Copy(h, set)
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	h.Write(&b)
	return b.String() + "\r\n"
}

func (l *lieBeingTold) status(line string) { l.bytes("HTTP/1.1 "+line+"\r\n\r\n", false) }

// announce sends the true body with a Content-Length of n.
func (l *lieBeingTold) announce(n int) {
	set := http.Header{"Content-Length": {strconv.Itoa(n)}}
	l.bytes(l.head(l.truth.status, set)+string(l.truth.body), false)
}

// breakOff closes or resets the connection before the body ends.
func (l *lieBeingTold) breakOff(body []byte, reset bool) {
	set := http.Header{"Content-Length": {strconv.Itoa(len(l.truth.body))}}
	l.bytes(l.head(l.truth.status, set)+string(body), reset)
}

var discard = stdlog.New(io.Discard, "", 0)
