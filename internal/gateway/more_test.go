package gateway

import (
	"net/http"
	"strings"
	"testing"
)

// After a good answer another gateway is asked, and what it does changes nothing
// but its own place.
func TestMore(t *testing.T) {
	f := &farm{gateways: []fake{says("right"), status(404), says("lie"), says("right"), says("right")}}
	p := f.pool()
	wanted := want("right")
	good := 0
	err := p.Do(t.Context(), Exchange{Path: "x", Accept: func(resp *http.Response) error {
		if err := wanted.Accept(resp); err != nil {
			return err
		}
		if good++; good == 2 {
			return nil
		}
		return ErrMore
	}})
	if err != nil || strings.Join(f.asked, "") != "abcd" {
		t.Errorf("asked %v, %v", f.asked, err)
	}

	f = &farm{gateways: []fake{says("right"), says("lie")}}
	p = f.pool()
	err = p.Do(t.Context(), Exchange{Path: "x", Accept: func(resp *http.Response) error {
		if err := wanted.Accept(resp); err != nil {
			return err
		}
		return ErrMore
	}})
	if err != nil || len(f.asked) != 2 || p.groups[0].gateways[0].penalty.Load() != 0 || p.groups[0].gateways[1].penalty.Load() == 0 {
		t.Errorf("asked %v, %v", f.asked, err)
	}
}
