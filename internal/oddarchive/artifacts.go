package oddarchive

import "encoding/base64"

// Artifacts with the media types of images, and images with other media types.
func artifactCases() []*Case {
	var cases []*Case
	for _, config := range []string{`{}`, `{"architecture":"","os":""}`} {
		i := image{[]byte(config), [][]byte{layerOf("artifact " + config)}}
		cases = append(cases, newCase("artifact with an image's config type and the config "+config).
			layout(layoutOf(i)).
			run(Taken(i.id()).AsIs().PulledBy("podman", "skopeo"), "oci:{d}/l:v1", "--name", "bundle").
			run(Taken(i.id()).AsIs().PulledBy("podman", "skopeo"), "-i", "{d}/a.tar", "--name", "bundle"))
	}
	model := image{config: []byte(`{}`)}
	return append(cases,
		newCase("artifact with an image's config type and layers of another").
			tree("l", layoutAs(model, "application/vnd.example.model.v1+json", gzipped([]byte(`{"not":"a tar"}`)))).
			run(Taken(model.id()).AsIs().PulledBy("skopeo"), "oci:{d}/l:v1", "--name", "model"),
		buildKitCache(), octetStream(), dataConfig())
}

// buildKitCache is BuildKit's local cache: an index of blobs.
func buildKitCache() *Case {
	var l layout
	var blobs []object
	var layers []object
	for _, name := range []string{"cache-0", "cache-1"} {
		tar := layerOf(name)
		d := with(l.put(ociGzip, gzipped(tar)), object{"annotations": object{"buildkit/createdat": "2026-01-02T03:04:05Z", "containerd.io/uncompressed": digestOf(tar)}})
		blobs = append(blobs, d)
		layers = append(layers, object{"blob": d["digest"], "parent": -1})
	}
	blobs = append(blobs, l.put("application/vnd.buildkit.cacheconfig.v0", encode(object{"layers": layers, "records": []object{}})))
	return newCase("BuildKit's cache, an index of blobs").tree("l", l.entries(named(l.putIndex(blobs...), "latest"))).
		run(Taken().AsIs().PulledBy(), "oci:{d}/l:latest", "--name", "cache")
}

var octetTypes = types{dockerManifest, "application/octet-stream", dockerGzip}

// octetStream is an image whose config has the type that Docker gave it at first.
func octetStream() *Case {
	i := newImage("octets")
	var l layout
	entries := l.entries(named(l.putImage(i, octetTypes, gzipped(i.layers[0])), "v1"))
	want := Taken(i.id()).PulledBy("podman", "skopeo")
	return newCase("config of type application/octet-stream").layout(entries).
		run(want.AsIs(), "oci:{d}/l:v1", "--name", "app").
		run(want.AsIs(), "oci:{d}/l:v1", "--name", "app", "--platform", "linux/amd64").
		run(Refused("linux/arm64"), "oci:{d}/l:v1", "--name", "app", "--platform", "linux/arm64").
		run(want, "oci:{d}/l:v1", "--name", "app", "--recompress")
}

// dataConfig is an image whose config stands in its descriptor only.
func dataConfig() *Case {
	i := newImage("data")
	var l layout
	config := object{"mediaType": ociConfig, "digest": i.id(), "size": len(i.config), "data": base64.StdEncoding.EncodeToString(i.config)}
	m := l.put(ociManifest, encode(object{"schemaVersion": 2, "mediaType": ociManifest, "config": config, "layers": []object{l.put(ociGzip, gzipped(i.layers[0]))}}))
	return newCase("config only as data in its descriptor").tree("l", l.entries(named(m, "v1"))).
		run(Taken(i.id()), "oci:{d}/l:v1", "--name", "app")
}

// Images with a layer that is not the one of the config.
func diffIDCases() []*Case {
	var cases []*Case
	for _, c := range []struct {
		name string
		types
	}{
		{"wrong diff_id, config of type application/octet-stream", octetTypes},
		{"wrong diff_id, config of the right type", ociTypes},
		{"wrong diff_id, layer type without gzip", types{ociManifest, ociConfig, "application/vnd.docker.image.rootfs.diff.tar"}},
	} {
		i := newImage(c.name)
		var l layout
		m := l.putImage(i, c.types, gzipped(layerOf("other than "+c.name)))
		cases = append(cases, newCase(c.name).tree("l", l.entries(named(m, "v1"))).
			run(Refused("layer", digestOf(i.layers[0])), "oci:{d}/l:v1", "--name", "app"))
	}
	return cases
}
