package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// apiVariable names the node that is used where no flag names a place.
const apiVariable = "IPFS_API"

// givenFlags returns those of the flags that are on the command line. A flag with
// an empty value is an error.
func givenFlags(fs *pflag.FlagSet, names ...string) ([]string, error) {
	var given []string
	for _, name := range names {
		flag := fs.Lookup(name)
		if !flag.Changed {
			continue
		}
		if flag.Value.Type() == "string" && flag.Value.String() == "" {
			return nil, fmt.Errorf("--%s has no value", name)
		}
		given = append(given, name)
	}
	return given, nil
}

// destinationFlags say where images are written.
type destinationFlags struct {
	store, api, token, car string
	plain                  bool // files in a new directory

	names []string // of all flags that name a place
}

func (f *destinationFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.store, "store", "", "write to the store in this `directory` (default "+defaultStore()+")")
	fs.StringVar(&f.api, "ipfs-api", "", "write to the Kubo node with this RPC `address`, and pin there (default $"+apiVariable+")")
	fs.StringVar(&f.token, "ipfs-api-token", "", "bearer `token` for that node; {env.NAME} and {file.PATH} are replaced")
	fs.StringVar(&f.car, "car", "", "write to this CAR `file`")
	_ = cmd.MarkFlagDirname("store")
	_ = cmd.MarkFlagFilename("car", "car")
	f.names = []string{"store", "ipfs-api", "car"}
}

func (f *destinationFlags) registerPlain(fs *pflag.FlagSet) {
	fs.BoolVarP(&f.plain, "no-add", "n", false, "write plain files to a new directory, and print its path")
	f.names = append(f.names, "no-add")
}

// place returns the place that the flags name. A token without a node is left for
// the caller to judge.
func (f *destinationFlags) place(fs *pflag.FlagSet) (place, error) {
	given, err := givenFlags(fs, f.names...)
	if err != nil {
		return place{}, err
	}
	if len(given) > 1 {
		return place{}, fmt.Errorf("--%s and --%s are two places to write to: give one", given[0], given[1])
	}
	if f.token, err = expandSecret(f.token); err != nil {
		return place{}, fmt.Errorf("--ipfs-api-token: %w", err)
	}
	if len(given) == 0 {
		f.api = os.Getenv(apiVariable)
	}
	switch {
	case f.plain:
		return place{kind: directoryPlace}, nil
	case f.api != "":
		return nodeAt(f.api, f.token)
	case f.car == "-":
		return place{}, errors.New("--car takes the name of a file: a CAR file cannot be written to standard output")
	case f.car != "":
		return place{kind: carPlace, path: f.car}, nil
	}
	return storeAt(f.store)
}

// sourceFlags say where images on IPFS are read.
type sourceFlags struct {
	from, token string
	gateways    gatewayFlags

	// Commands that only read also take a destination's flags for their source.
	store, api, apiToken, car string

	names    []string // of all flags that name a place
	readOnly bool     // no destination takes $IPFS_API
}

// register adds the flags of every command that reads from IPFS.
func (f *sourceFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.from, "from", "", "read from this `place`: "+placeForms+" (default "+defaultStore()+")")
	fs.StringVar(&f.token, "from-token", "", "bearer `token` for the node of --from; {env.NAME} and {file.PATH} are replaced")
	f.gateways.register(fs)
	f.names = []string{"from", "gateway"}
}

// registerReadOnly adds the flags of commands that read from IPFS and write
// nothing there.
func (f *sourceFlags) registerReadOnly(cmd *cobra.Command) {
	f.register(cmd)
	fs := cmd.Flags()
	fs.Lookup("from").Usage = "read from this `place`: " + placeForms + " (default $" + apiVariable + ", or " + defaultStore() + ")"
	fs.StringVar(&f.store, "store", "", "read from the store in this `directory`: the same as --from")
	fs.StringVar(&f.car, "car", "", "read from this CAR `file`: the same as --from")
	fs.StringVar(&f.api, "ipfs-api", "", "read from the Kubo node with this RPC `address`: the same as --from")
	fs.StringVar(&f.apiToken, "ipfs-api-token", "", "the same as --from-token")
	for _, name := range []string{"car", "ipfs-api", "ipfs-api-token"} {
		_ = fs.MarkHidden(name) // an older spelling
	}
	_ = cmd.MarkFlagDirname("store")
	_ = cmd.MarkFlagFilename("car", "car")
	f.names = append(f.names, "store", "car", "ipfs-api")
	f.readOnly = true
}

// place returns the place that the flags name. The flags in beside may be given
// together with another place, and then do not count.
func (f *sourceFlags) place(fs *pflag.FlagSet, beside ...string) (place, error) {
	given, err := givenFlags(fs, f.names...)
	if err != nil {
		return place{}, err
	}
	if len(given) > 1 {
		given = slices.DeleteFunc(given, func(name string) bool { return slices.Contains(beside, name) })
	}
	if len(given) > 1 {
		return place{}, fmt.Errorf("--%s and --%s are two places, and images come from one of them and not from both", given[0], given[1])
	}
	if f.token, err = expandSecret(cmp.Or(f.token, f.apiToken)); err != nil {
		return place{}, fmt.Errorf("--from-token: %w", err)
	}
	gateways, err := f.gateways.parse()
	if err != nil {
		return place{}, err
	}
	if len(given) == 0 && f.readOnly {
		f.api = os.Getenv(apiVariable)
	}
	switch {
	case f.from != "":
		return parsePlace(f.from, f.token)
	case f.api != "":
		return nodeAt(f.api, f.token)
	case f.token != "":
		return place{}, errors.New("--from-token is for a node, and --from does not name one")
	case len(gateways) > 0:
		return place{kind: gatewayPlace, gateways: gateways}, nil
	case f.car != "":
		return place{kind: carPlace, path: f.car}, nil
	case slices.Contains(given, "store"):
		return storeAt(f.store)
	}
	return storeAt("")
}

// isGiven reports whether a flag names the place.
func (f *sourceFlags) isGiven(fs *pflag.FlagSet) bool {
	given, err := givenFlags(fs, append(f.names, "from-token")...)
	return err != nil || len(given) > 0
}

// transferFlags say where images are read and where they are written.
type transferFlags struct {
	source sourceFlags
	to     destinationFlags
}

func (f *transferFlags) register(cmd *cobra.Command) {
	f.source.register(cmd)
	f.to.register(cmd)
}

// places returns both places. --ipfs-api-token belongs to the destination: the
// source gets it only if both are the same node, or if the source is the only
// node.
func (f *transferFlags) places(fs *pflag.FlagSet) (from, to place, err error) {
	if to, err = f.to.place(fs); err != nil {
		return from, to, err
	}
	if f.to.token != "" && to.kind != nodePlace {
		if f.source.from == "" {
			return from, to, errors.New("--ipfs-api-token is for a node, and neither --ipfs-api nor " + apiVariable + " names one")
		}
		f.source.token = cmp.Or(f.source.token, f.to.token)
	}
	from, err = f.source.place(fs)
	if f.source.token == "" && from.isSameNode(to) {
		from = to
	}
	return from, to, err
}
