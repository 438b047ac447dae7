package oddarchive

// choiceCases are layouts with several images from which the caller may choose.
func choiceCases() []*Case {
	amd, arm := newImage("amd64"), imageFor("arm64", object{"architecture": "arm64"}, layerOf("arm64"))
	var l layout
	platform := func(d object, architecture string) object {
		return with(d, object{"platform": object{"os": "linux", "architecture": architecture}})
	}
	a, b := platform(l.putGzipped(amd), "amd64"), platform(l.putGzipped(arm), "arm64")
	both := Taken(amd.id(), arm.id())
	cases := []*Case{
		newCase("two platforms in index.json under one name").layout(l.entries(named(a, "v1"), named(b, "v1"))).
			run(both.Named("app:v1"), "oci:{d}/l:v1", "--name", "app").
			run(Taken(arm.id()).PulledBy("docker", "podman"), "oci:{d}/l:v1", "--name", "app", "--platform", "linux/arm64").
			run(Taken(amd.id()), "-i", "{d}/a.tar", "--name", "app", "--platform", "linux/amd64"),
		newCase("two platforms in index.json without a name").layout(l.entries(a, b)).
			run(both, "oci:{d}/l").
			run(both.Named("app:v1"), "oci:{d}/l", "--name", "app", "--tag", "v1").
			run(Taken(arm.id()).Named("app:v1").PulledBy("docker", "podman"), "oci:{d}/l", "--name", "app", "--tag", "v1", "--platform", "linux/arm64"),
		windowsVersions(),
		cosignSave(),
	}
	return append(cases, indexCases()...)
}

// windowsVersions is an index with two images for windows/amd64.
func windowsVersions() *Case {
	var l layout
	var manifests []object
	var ids []string
	for _, version := range []string{"10.0.17763.1", "10.0.20348.2"} {
		i := imageFor("windows-"+version, object{"os": "windows", "os.version": version}, layerOf("windows-"+version))
		ids = append(ids, i.id())
		manifests = append(manifests, with(l.putGzipped(i), object{"platform": object{"os": "windows", "architecture": "amd64", "os.version": version}}))
	}
	return newCase("windows/amd64 of two os.versions").tree("l", l.entries(named(l.putIndex(manifests...), "v1"))).
		run(Taken(ids...).PulledBy(), "oci:{d}/l:v1", "--name", "app").
		run(Refused("10.0.17763.1", "10.0.20348.2"), "oci:{d}/l:v1", "--name", "app", "--platform", "windows/amd64").
		run(Taken(ids[1]).PulledBy(), "oci:{d}/l:v1", "--name", "app", "--platform", "windows(10.0.20348.2)/amd64").
		run(Taken(ids[1]).PulledBy(), "oci:{d}/l:v1", "--name", "app", "--platform", "windows/amd64:10.0.20348.2")
}

// cosignSave is what `cosign save` writes: an image and its signature, without names.
func cosignSave() *Case {
	i := newImage("cosign")
	var l layout
	m := l.putGzipped(i)
	payload := encode(object{"critical": object{
		"identity": object{"docker-reference": "r.example/app"},
		"image":    object{"docker-manifest-digest": m["digest"]},
		"type":     "cosign container image signature",
	}, "optional": nil})
	config := encode(object{
		"architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "config": object{},
		"history": []object{{"created": "0001-01-01T00:00:00Z"}},
		"rootfs":  object{"type": "layers", "diff_ids": []string{digestOf(payload)}},
	})
	signature := with(l.put("application/vnd.dev.cosign.simplesigning.v1+json", payload), object{"annotations": object{"dev.cosignproject.cosign/signature": "MEUCIQDx"}})
	s := l.put(ociManifest, encode(object{"schemaVersion": 2, "mediaType": ociManifest, "config": l.put(ociConfig, config), "layers": []object{signature}}))
	kind := func(d object, kind string) object {
		return with(d, object{"annotations": object{"kind": "dev.cosignproject.cosign/" + kind}})
	}
	tag := "sha256-" + m["digest"].(string)[len("sha256:"):] + ".sig"
	both := Taken(i.id(), digestOf(config))
	return newCase("image and signature by cosign save").layout(l.entries(kind(m, "image"), kind(s, "sigs"))).
		run(both, "oci:{d}/l").
		run(both.Named("app:v1", "app:"+tag), "oci:{d}/l", "--name", "app", "--tag", "v1").
		run(both.Named("app:v1", "app:"+tag), "-i", "{d}/a.tar", "--name", "app", "--tag", "v1").
		run(both, "oci:{d}/l", "--name", "app", "--tag", "v1", "--platform", "linux/amd64")
}

// Archives whose index.json and manifest.json differ.
func indexCases() []*Case {
	var cases []*Case
	for _, odd := range []string{"leads to no layers", "leads to wrong sizes"} {
		i := newImage("index " + odd)
		layers := []object{}
		if odd == "leads to wrong sizes" {
			layers = append(layers, object{"mediaType": ociLayer, "digest": digestOf(i.layers[0]), "size": len(i.layers[0]) + 1})
		}
		var l layout
		m := l.put(ociManifest, encode(object{"schemaVersion": 2, "mediaType": ociManifest, "config": l.put(ociConfig, i.config), "layers": layers}))
		top := with(m, object{"annotations": object{refName: "v1", containerdName: "docker.io/app/rc:v1"}})
		entries := append(l.entries(top), i.dockerAs("blobs/sha256/%s", "blobs/sha256/%s", i.layers, []string{"app/rc:v1"})...)
		cases = append(cases, newCase("index.json "+odd+", manifest.json is right").
			file("a.tar", tarOf(entries)).
			run(Taken(i.id()).Named("app/rc:v1").Noting("manifest.json"), "-i", "{d}/a.tar"))
	}
	first, second := newImage("twice-1"), newImage("twice-2")
	f, g := first.docker("app/twice:v1"), second.docker("app/twice:v1")
	list := append([]byte("["), dataOf(f, "manifest.json")[1:len(dataOf(f, "manifest.json"))-1]...)
	list = append(append(list, ','), dataOf(g, "manifest.json")[1:]...)
	twice := newImage("twice")
	return append(cases,
		newCase("two images of one name").file("a.tar", tarOf(replace(append(f[:len(f)-1:len(f)-1], g...), "manifest.json", list))).
			run(Refused("app/twice:v1", "two different images"), "-i", "{d}/a.tar"),
		newCase("one name twice in RepoTags").file("a.tar", tarOf(twice.docker("app/twice:v1", "docker.io/app/twice:v1", "app/twice:v1"))).
			run(Taken(twice.id()).Named("app/twice:v1"), "-i", "{d}/a.tar"))
}
