package oddarchive

import "strings"

// Images whose names no registry takes.
func nameCases() []*Case {
	capitals := newImage("capitals")
	two := newImage("one-legal-name")
	rescue := Refused("--name", "--tag")
	c := newCase("capitals in RepoTags, as Bazel labels have them").
		file("a.tar", tarOf(capitals.docker("bazel/app/FileParser:FileParserDocker"))).
		run(rescue, "-i", "{d}/a.tar").
		run(Taken(capitals.id()).Named("app:v1"), "-i", "{d}/a.tar", "--name", "app", "--tag", "v1").
		run(Taken(capitals.id()), "-i", "{d}/a.tar", "--name", "app")
	cases := []*Case{
		c,
		newCase("two names, one of them legal").file("a.tar", tarOf(two.docker("app/ok:v1", "app/Bad:v1"))).
			run(Taken(two.id()).Named("app/ok:v1").Noting("app/Bad"), "-i", "{d}/a.tar").
			run(Taken(two.id()).Named("app:v1"), "-i", "{d}/a.tar", "--name", "app", "--tag", "v1").
			run(Taken(two.id()).Named("app/ok:v1"), "docker-archive:{d}/a.tar:app/ok:v1"),
		newCase("capitals in ref.name").file("a.tar", tarOf(layoutNamed(capitals, "example.com/Team/App:1.0"))).
			run(rescue, "-i", "{d}/a.tar").
			run(Taken(capitals.id()).Named("app:v1"), "-i", "{d}/a.tar", "--name", "app", "--tag", "v1"),
	}
	for _, name := range []string{
		"1.0.0+git.5",
		"app/org.example.X/x86_64/stable", // of flatpak
		"a b",
		"v1@sha256:" + strings.Repeat("0", 64),
	} {
		i := newImage("ref.name " + name)
		c := newCase("ref.name "+name).layout(layoutNamed(i, name)).
			run(Taken(i.id()).Named("app:v1"), "oci:{d}/l", "--name", "app", "--tag", "v1").
			run(Taken(i.id()).Named("app:v1"), "-i", "{d}/a.tar", "--name", "app", "--tag", "v1")
		if !strings.HasPrefix(name, "v1@") { // which leaves a tag, and no name
			c.run(rescue, "oci:{d}/l").run(rescue, "oci:{d}/l", "--tag", "v1")
		}
		cases = append(cases, c)
	}
	return append(cases, digestNameCases()...)
}

func layoutNamed(i image, name string) []entry {
	var l layout
	return l.entries(named(l.putGzipped(i), name))
}

// Names with digests, as `ctr image export` writes them.
func digestNameCases() []*Case {
	i := newImage("digests")
	var l layout
	m := l.putGzipped(i)
	digest := m["digest"].(string)
	const name = "registry.example:5000/team/app"
	exported := func(full string) []byte {
		return tarOf(l.entries(with(m, object{"annotations": object{refName: digest, containerdName: full}})))
	}
	renamed := Taken(i.id()).Named("app:v1")
	return []*Case{
		newCase("containerd's name with a digest").file("a.tar", exported(name+"@"+digest)).
			run(Taken(i.id()).Named("team/app"), "-i", "{d}/a.tar").
			run(renamed, "-i", "{d}/a.tar", "--name", "app", "--tag", "v1"),
		newCase("containerd's name with tag and digest").file("a.tar", exported(name+":v1@"+digest)).
			run(Taken(i.id()).Named("team/app:v1"), "-i", "{d}/a.tar").
			run(renamed, "-i", "{d}/a.tar", "--name", "app", "--tag", "v1"),
		newCase("RepoTags with a digest").file("a.tar", tarOf(i.docker(name+"@"+digest))).
			run(Taken(i.id()).Named("team/app"), "-i", "{d}/a.tar"),
	}
}
