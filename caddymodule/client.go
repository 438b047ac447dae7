package caddymodule

import (
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// clientOf returns whose requests share what one client may take: those from the same
// address, as Caddy sees it behind trusted proxies, or from the same network of IPv6.
func clientOf(r *http.Request) string {
	name, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	address, err := netip.ParseAddr(name)
	if err != nil {
		return name
	}
	address = address.Unmap().WithZone("")
	if address.Is6() {
		return netip.PrefixFrom(address, 64).Masked().String() // one host may use all of them
	}
	return address.String()
}
