package cookbook

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"regexp"
	"testing"
)

// pullAsKubelet has containerd pull an image by the call that the kubelet makes,
// PullImage of the container runtime interface, and returns the image's ID. The call is
// made without gRPC's library, which is large: a gRPC call is a POST over HTTP/2, with a
// length before the message.
func pullAsKubelet(t *testing.T, socket, ref string) (id string) {
	t.Helper()
	transport := &http.Transport{
		Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()

	request := field(field([]byte(ref))) // {image: {image: ref}}
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request))), request...)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"http://containerd/runtime.v1.ImageService/PullImage", bytes.NewReader(framed))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	response, err := io.ReadAll(resp.Body)
	id = regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(string(response))
	if err != nil || resp.Trailer.Get("Grpc-Status") != "0" || id == "" {
		t.Fatalf("pulling %s: %v, %v%v %q", ref, err, resp.Header, resp.Trailer, response)
	}
	return id
}

// field returns a protocol buffer message whose only field is number 1, of bytes.
func field(value []byte) []byte {
	return append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(value))), value...)
}
