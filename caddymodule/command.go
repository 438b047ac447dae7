package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "ipfs-registry",
		Usage: "[--listen <addr>] [--gateway <url>]... [--store <directory>] [--redirect] [--access-log] [--debug]",
		Short: "Spins up a container registry for images on IPFS",
		Long: `
A read-only container registry whose images are directories on IPFS. It is
meant for local use and for trying things out, and speaks plain HTTP.

Images come from the IPFS gateways given with --gateway, which are not trusted,
and from the store on disk given with --store. With neither, they come from the
store in which the converter keeps images by default.

With --redirect, clients fetch the layers of images from the first gateway
themselves.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Flags().StringP("listen", "l", ":5000", "The address to which to bind the listener")
			cmd.Flags().StringArrayP("gateway", "g", nil, "The URL of an IPFS gateway, such as http://127.0.0.1:8080; may be given several times")
			cmd.Flags().StringP("store", "s", "", "The directory that the converter keeps images in")
			cmd.Flags().BoolP("redirect", "r", false, "Redirect blobs to the first gateway instead of proxying them")
			cmd.Flags().BoolP("access-log", "a", false, "Enable the access log")
			cmd.Flags().BoolP("debug", "v", false, "Enable verbose debug logs")
			cmd.Args = cobra.NoArgs
			cmd.RunE = caddycmd.WrapCommandFuncForCobra(serve)
		},
	})
}

func serve(fs caddycmd.Flags) (int, error) {
	caddy.TrapSignals()

	gateways, err := fs.GetStringArray("gateway")
	if err != nil {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("invalid gateway flag: %w", err)
	}
	handler := newHandler(gateways, fs.String("store"), fs.Bool("redirect"))
	listen := fs.String("listen")
	if err := checkFree(listen); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if err := caddy.Run(newConfig(handler, listen, fs.Bool("access-log"), fs.Bool("debug"))); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	log.Printf("Caddy serving images on %s", listen)
	select {}
}

// checkFree returns an error if another process listens on an address. Caddy itself would
// share the port with it (SO_REUSEPORT), and each process would get some of the requests.
func checkFree(listen string) error {
	if _, err := strconv.ParseUint(listen, 10, 16); err == nil {
		return fmt.Errorf("invalid listen flag: %q has no colon: did you mean :%[1]s?", listen)
	}
	address, err := caddy.ParseNetworkAddress(listen)
	if err != nil {
		return fmt.Errorf("invalid listen flag: %w", err)
	}
	if address.IsUnixNetwork() || address.IsFdNetwork() {
		return nil
	}
	for i := range address.PortRangeSize() {
		l, err := net.Listen("tcp", address.JoinHostPort(i))
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%s is taken by another program, perhaps by another registry: stop that one, or choose another port with --listen: %w", address.JoinHostPort(i), err)
		}
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// newHandler returns the handler that the flags describe. All gateways are one group.
func newHandler(gateways []string, directory string, redirect bool) Handler {
	var h Handler
	if len(gateways) > 0 {
		h.Gateways = []*Gateway{{Upstreams: gateways}}
	}
	if directory != "" {
		h.Store = &Store{Directory: directory}
	}
	if redirect {
		h.Blobs = &Blobs{Mode: modeRedirect}
	}
	return h
}

func newConfig(h Handler, listen string, accessLog, debug bool) *caddy.Config {
	server := &caddyhttp.Server{
		Listen:            []string{listen},
		ReadHeaderTimeout: caddy.Duration(10 * time.Second),
		IdleTimeout:       caddy.Duration(30 * time.Second),
		MaxHeaderBytes:    64 << 10, // of a request with many ranges
		Routes: caddyhttp.RouteList{{
			HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(h, "handler", "ipfs_registry", nil)},
		}},
	}
	if accessLog {
		server.Logs = new(caddyhttp.ServerLogConfig)
	}
	app := caddyhttp.App{Servers: map[string]*caddyhttp.Server{"registry": server}}

	persist := false
	cfg := &caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: &persist}},
		AppsRaw: caddy.ModuleMap{"http": caddyconfig.JSON(app, nil)},
	}
	if debug {
		cfg.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			"default": {BaseLog: caddy.BaseLog{Level: zap.DebugLevel.CapitalString()}},
		}}
	}
	return cfg
}
