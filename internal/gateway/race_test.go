package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A download is an exchange for content that several gateways may give at once. Each
// 1,000 bytes are verified together.
type download struct {
	mu  sync.Mutex
	got bytes.Buffer
}

const verifiedAtOnce = 1000

func (d *download) exchange() Exchange {
	return Exchange{Path: "x", Accept: func(resp *http.Response) error {
		for at, buf := 0, make([]byte, verifiedAtOnce); ; {
			n, err := io.ReadFull(resp.Body, buf)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			Progress(resp.Body, d.add(at, buf[:n]))
			at += n
		}
	}}
}

// add adds verified bytes at an offset, and returns how many are new.
func (d *download) add(at int, b []byte) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at+len(b) <= d.got.Len() {
		return 0
	}
	n, _ := d.got.Write(b[d.got.Len()-at:])
	return n
}

// dripping is a gateway that gives each part of the content after a while.
func dripping(content []byte, after time.Duration) fake {
	return func(r *http.Request) *http.Response {
		body := bytes.NewReader(content)
		return response(200, nil, readerFunc(func(b []byte) (int, error) {
			select {
			case <-time.After(after):
				return body.Read(b[:min(len(b), verifiedAtOnce)])
			case <-r.Context().Done():
				return 0, r.Context().Err()
			}
		}))
	}
}

func downloadable(parts int) []byte {
	return bytes.Repeat([]byte("0123456789"), parts*verifiedAtOnce/10)
}

func TestSlowGatewayIsOvertaken(t *testing.T) {
	content := downloadable(100)
	for name, slow := range map[string]fake{
		"right parts now and then": dripping(content, Patience-time.Second),
		"right parts too slowly":   dripping(content, Patience/10),
		"a late answer": func(r *http.Request) *http.Response {
			select {
			case <-time.After(Patience - time.Second):
				return dripping(content, time.Second)(r)
			case <-r.Context().Done():
				return nil
			}
		},
	} {
		for _, alone := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				f := &farm{gateways: []fake{slow, dripping(content, time.Millisecond)}}
				p := f.pool()
				if alone {
					p = f.groups()
				}
				var d download
				began := time.Now()
				if err := p.Do(t.Context(), d.exchange()); err != nil || !bytes.Equal(d.got.Bytes(), content) {
					t.Errorf("%s: %d bytes, %v", name, d.got.Len(), err)
				}
				if took := time.Since(began); took > Patience/2 {
					t.Errorf("%s: %s", name, took)
				}
				if s := p.States(); !s[0].PutBack.After(time.Now()) || s[1].PutBack.After(time.Now()) {
					t.Errorf("%s: %+v", name, s)
				}
				d, began, f.asked = download{}, time.Now(), nil
				if err := p.Do(t.Context(), d.exchange()); err != nil || f.asked[0] != "b" || time.Since(began) > headStart {
					t.Errorf("%s: the next time asked %v for %s, %v", name, f.asked, time.Since(began), err)
				}
			})
		}
	}
}

func TestSlowGatewayGoesOnWhereTheOthersCannot(t *testing.T) {
	content := downloadable(20)
	for name, other := range map[string]fake{
		"has nothing": status(404),
		"lies":        says("lies"),
		"breaks off": func(*http.Request) *http.Response {
			return response(200, nil, io.MultiReader(bytes.NewReader(content[:len(content)/2]), broken{}))
		},
		"hangs":       hangs,
		"is as slow":  dripping(content, Patience/10),
		"is slower":   dripping(content, Patience/5),
		"stalls soon": func(r *http.Request) *http.Response { return response(200, nil, hung{r.Context()}) },
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &farm{gateways: []fake{dripping(content, Patience/10), other}}
			var d download
			began := time.Now()
			if err := f.pool().Do(t.Context(), d.exchange()); err != nil || !bytes.Equal(d.got.Bytes(), content) {
				t.Errorf("another gateway %s: %d bytes, %v", name, d.got.Len(), err)
			}
			if took := time.Since(began); took > 20*Patience/10+Patience {
				t.Errorf("another gateway %s: %s", name, took)
			}
		})
	}
}

// A client with a slow line must not download the same bytes from every gateway.
func TestOneOfManySlowGatewaysGoesOn(t *testing.T) {
	const gateways, parts = 6, 100
	content := downloadable(parts)
	synctest.Test(t, func(t *testing.T) {
		given := 0
		var mu sync.Mutex
		f := &farm{}
		for range gateways {
			f.gateways = append(f.gateways, func(r *http.Request) *http.Response {
				resp := dripping(content, Patience/10)(r)
				body := resp.Body
				resp.Body = io.NopCloser(readerFunc(func(b []byte) (int, error) {
					n, err := body.Read(b)
					mu.Lock()
					defer mu.Unlock()
					given += n
					return n, err
				}))
				return resp
			})
		}
		var d download
		if err := f.pool().Do(t.Context(), d.exchange()); err != nil || !bytes.Equal(d.got.Bytes(), content) {
			t.Errorf("%d bytes, %v", d.got.Len(), err)
		}
		if given > len(content)*3/2 || len(f.asked) > gateways {
			t.Errorf("%d bytes from %d gateways for %d bytes of content", given, len(f.asked), len(content))
		}
	})
}

// A gateway that joined and was not needed did nothing wrong.
func TestGatewayThatWasNotNeededIsNotBlamed(t *testing.T) {
	content := downloadable(4)
	synctest.Test(t, func(t *testing.T) {
		f := &farm{gateways: []fake{dripping(content, Patience/10), searching(Patience / 2)}}
		p := f.pool()
		var d download
		x := d.exchange()
		x.Failed = func(f Failure) { t.Error(f) }
		if err := p.Do(t.Context(), x); err != nil || strings.Join(f.asked, "") != "ab" {
			t.Errorf("asked %v, %v", f.asked, err)
		}
		for _, s := range p.States() {
			if s.PutBack.After(time.Now()) || s.Silent || s.Away {
				t.Errorf("%+v", s)
			}
		}
	})
}

func TestPanicInAcceptReachesTheCaller(t *testing.T) {
	f := &farm{gateways: []fake{says("right"), says("right")}}
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("panic: %v", p)
		}
	}()
	err := f.pool().Do(t.Context(), Exchange{Accept: func(*http.Response) error { panic(http.ErrAbortHandler) }})
	t.Error("no panic, but ", errors.Join(err))
}
