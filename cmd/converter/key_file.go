package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
)

// The formats of a key, as `ipfs key export` calls them.
const (
	protobufFormat = "libp2p-protobuf-cleartext"
	pemFormat      = "pem-pkcs8-cleartext"
)

func newKeyExportCommand() *cobra.Command {
	var (
		f      storeFlag
		format string
	)
	cmd := &cobra.Command{
		Use:   "export FILE|-",
		Short: "Write the private key of a store's own root to a file",
		Long: `Export writes the private key of a store's own root to a new file, which only you can
read; - is standard output. The key is not encrypted. Kubo reads it with ipfs key import.`,
		Example: `  converter key export registry.key
  converter key export registry.pem --format pem-pkcs8-cleartext
  converter key export - | age -e -r age1… > registry.key.age`,
		Args: oneKeyFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != protobufFormat && format != pemFormat {
				return fmt.Errorf("--format %s: give %s or %s", format, protobufFormat, pemFormat)
			}
			s, err := f.find(cmd.Flags())
			if err != nil {
				return err
			}
			key, err := s.Root().Key()
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("the own root of the store %s has no key: `converter key` makes one", s.Dir())
			}
			if err != nil {
				return inStore(s, err)
			}
			marshal := key.Marshal
			if format == pemFormat {
				marshal = key.MarshalPEM
			}
			data, err := marshal()
			if err != nil {
				return err
			}
			if args[0] == "-" {
				return writeSecret(cmd.OutOrStdout(), data, format)
			}
			return writeNewFile(args[0], data)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVarP(&format, "format", "f", protobufFormat, "write the key in this `format`: "+protobufFormat+" or "+pemFormat)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{protobufFormat, pemFormat}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// oneKeyFile is a cobra.PositionalArgs that requires one argument, the file of a key.
func oneKeyFile(_ *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return errors.New("give one file for the key, or - for standard input or output")
	}
	return nil
}

// writeSecret writes a key to standard output. It refuses to write a binary key to a terminal.
func writeSecret(w io.Writer, data []byte, format string) error {
	if file, ok := w.(*os.File); ok && format == protobufFormat && term.IsTerminal(int(file.Fd())) {
		return fmt.Errorf("the output is a terminal, and the key is binary: give a FILE, or --format %s", pemFormat)
	}
	_, err := w.Write(data)
	return err
}

// writeNewFile creates a file that only this user can read. It fails if the file exists.
func writeNewFile(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists, and export does not overwrite files: give another name", path)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func newKeyImportCommand() *cobra.Command {
	var (
		f       storeFlag
		replace bool
	)
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Give a store's own root a private key from a file",
		Long: `Import gives a store's own root the private key in a file, and prints its IPNS name; - is
standard input. The key is an ed25519 key, as converter key export and ipfs key export
write it, in either format.

Import refuses a file that other users can read or write, since they may have the key.
Use a key in one store only: if two stores sign with the same key, the name leads to
one root or the other.`,
		Example: `  converter key import registry.key
  age -d registry.key.age | converter key import -`,
		Args: oneKeyFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := readKey(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			s, err := f.openOwn(cmd.Flags())
			if err != nil {
				return err
			}
			if name, had := s.Root().Name(); had && name != key.Name() && !replace {
				return fmt.Errorf("the own root of the store %s already has a key, with the name %s: --replace replaces it, and gives the root the name %s", s.Dir(), name, key.Name())
			}
			return setKey(cmd, s, key)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&replace, "replace", false, "replace the key that the root has")
	return cmd
}

// readKey reads a key from a file, or from standard input.
func readKey(path string, stdin io.Reader) (ipns.Key, error) {
	from := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return ipns.Key{}, err
		}
		defer file.Close()
		if err := checkPrivate(file); err != nil {
			return ipns.Key{}, err
		}
		from = file
	} else if file, ok := stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return ipns.Key{}, errors.New("the input is a terminal: give a FILE, or pipe the key into `converter key import -`")
	}
	data, err := io.ReadAll(io.LimitReader(from, ipns.MaxKey+1))
	if err != nil {
		return ipns.Key{}, err
	}
	key, err := ipns.ParseKey(data)
	if err != nil {
		return ipns.Key{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// checkPrivate returns an error if other users can read or write a file.
func checkPrivate(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if mode := info.Mode(); runtime.GOOS != "windows" && mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return fmt.Errorf("other users can read or write %s (%s), so they may have the key: make a new key with `converter key rotate`, or, if you are sure that none of them has it, run `chmod 600 %[1]s` and import it again", file.Name(), mode.Perm())
	}
	return nil
}
