package naming

import (
	"errors"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logspool/logspool/internal/container"
)

// doubling returns a template that doubles a text n times.
func doubling(function string, n int) string {
	return `{{$x := "0123456789abcdef"}}` + strings.Repeat(`{{$x = `+function+`}}`, n) + `{{$x}}`
}

// hostile are templates that would take hours or gigabytes without the limits.
var hostile = []string{
	`{{pad "x" 1000000000 0}}`,
	`{{pad "x" 0 1000000000}}`,
	`{{pad "x" 9223372036854775807 9223372036854775807}}`,
	`{{printf "%1000000000d" 1}}`,
	`{{printf "%999999d" 1}}`,
	`{{printf "%.999999d" 1}}`,
	`{{printf "%-0999999.3f" 1.0}}`,
	`{{printf "%[1]999999d" 1}}`,
	`{{printf "%5 %999999d" 1}}`,   // the verb is a space, so that a % begins another
	`{{printf "%[a]%%999999d" 1}}`, // a broken index, then a %
	`{{printf "%99999999999999999999d"}}`,
	`{{printf "%60000s" (split (pad "x" 2000 0) "")}}`, // pads every element
	doubling(`print $x $x`, 60),
	doubling(`printf "%s%s" $x $x`, 60),
	doubling(`printf "%[1]s%[1]s" $x`, 60),
	doubling(`println $x $x`, 60),
	doubling(`html $x $x "<"`, 60),
	doubling(`js $x $x "<"`, 60),
	doubling(`urlquery $x $x " "`, 60),
	doubling(`replace "a" "aa" (replace "0" "00" (replace "1" "11" $x))`, 60),
	doubling(`replace "" "0123456789abcdef" $x`, 20),
	doubling(`join (split $x "") "xxxxxxxx"`, 20),
	doubling(`json $x | json`, 60),
	doubling(`pad $x 30000 30000`, 60),
	`{{$x := pad "x" 0 60000}}` + strings.Repeat(`{{$y := upper $x}}`, 300),
	`{{$x := pad "x" 0 60000}}` + strings.Repeat(`{{$y := replace "x" "y" $x}}`, 200),
	`{{$x := pad "x" 0 60000}}{{printf "` + strings.Repeat(`%[1]s`, 1500) + `" $x}}`,
	`{{$x := pad "x" 0 60000}}{{print ` + strings.Repeat(`$x `, 2500) + `}}`,
	`{{printf "` + strings.Repeat(`%[1]60000d`, 800) + `" 1}}`,
	`{{range 1000000000000}}{{end}}`,
	`{{range 1000000000000}}x{{end}}`,
	`{{range 1000000000000}}{{continue}}{{end}}`,
	`{{range $i := 1000000000000}}{{if $i}}{{continue}}{{end}}{{end}}`,
	`{{range 100000}}{{range 100000}}{{range 100000}}{{end}}{{end}}{{end}}`,
	`{{range 1000000}}{{range 1}}{{break}}{{end}}{{end}}`,
	`{{range 1000000}}{{with $}}{{range .Env}}{{break}}{{end}}{{end}}{{end}}`,
	`{{range 9223372036854775807}}{{$x := split (pad "x" 30000 0) ""}}{{end}}`,
	`{{range 99}}{{range 99}}` + strings.Repeat(`{{eq $.Labels.big1 $.Labels.big2}}`, 200) + `{{end}}{{end}}`,
	strings.Repeat(`{{range 10}}`, 400) + strings.Repeat(`{{end}}`, 400),
	strings.Repeat(`{{range $.Env}}`, 20) + strings.Repeat(`{{end}}`, 20),
	`{{range 100}}` + strings.Repeat(`{{$x:=1}}`, 800) + `{{end}}`,
	`{{range 1000}}{{json $}}{{end}}`,
	`{{range 1000}}{{$}}{{end}}`,
}

// hostileToBig are templates that are expensive if the container's data are large.
var hostileToBig = []string{
	`{{range 100}}{{range $.Env}}{{break}}{{end}}{{end}}`, // sorts the map each time
	`{{range 1000}}{{if eq $.Labels.big1 $.Labels.big2}}{{end}}{{end}}`,
	`{{split .Labels.big1 ""}}`,
	`{{replace "x" "xx" .Labels.big1}}`,
	`{{replace "" .Labels.big1 .Labels.big2}}`,
	`{{.Labels.big1}}`,
	`{{upper .Labels.big1}}`,
	`{{join (split .Name "") .Labels.big1}}`,
	`{{pad .Labels.big1 1 1}}`,
	`{{json .}}`,
}

// hostileTags are such templates in Docker's dialect.
var hostileTags = []string{
	`{{.ContainerCreated.Format (pad "x" 0 60000)}}`,
	`{{.ContainerCreated.Format .ContainerLabels.big1}}`,
	`{{range 20000}}{{$x := $.ContainerCreated.Format "` + strings.Repeat("2006 ", 100) + `"}}{{end}}`,
	`{{$t := .ContainerCreated}}{{range 20000}}{{$t = $t.AddDate 1000000000 0 0}}{{end}}`,
	`{{range .ContainerCreated.UnixNano}}{{end}}`,
	`{{printf "%60000d" .ContainerCreated.MarshalJSON}}`, // pads each byte
	`{{range 1000}}{{if eq $.Config.big1 $.Config.big2}}{{end}}{{end}}`,
	`{{$x := .ExtraAttributes nil}}{{range 1000}}{{if eq $x.big1 $x.big2}}{{end}}{{end}}`,
	`{{range 1000}}{{if eq $.LogPath $.LogPath}}{{end}}{{end}}`,
	`{{range $k, $v := .ExtraAttributes nil}}{{range 1000}}{{if eq $k $k}}{{end}}{{end}}{{end}}`,
	`{{json .Config}}`,
	`{{json (.ExtraAttributes nil)}}`,
	`{{json .}}`,
}

// bigContainer returns a container whose data are at least as large as dockerd allows.
func bigContainer() *Container {
	c := testContainer()
	c.Labels = map[string]string{"big1": strings.Repeat("x", 2<<20), "big2": strings.Repeat("x", 2<<20)}
	for i := range 10_000 {
		c.Env = append(c.Env, fmt.Sprintf("VARIABLE%d=%d", i, i))
	}
	return c
}

func TestHostileTemplatesAreBounded(t *testing.T) {
	for _, text := range hostile {
		checkBounded(t, Parse, text, testContainer())
	}
	for _, text := range append(hostileToBig, hostile...) {
		checkBounded(t, Parse, text, bigContainer())
	}
	for _, text := range hostileTags {
		c := bigContainer()
		// One large value at a time, to check that each counts.
		if strings.Contains(text, "Config") {
			c.Config, c.Labels = c.Labels, nil
		} else if strings.Contains(text, "ExtraAttributes") {
			c.Attrs, c.Labels = map[string]string{"big1": c.Labels["big1"], "big2": c.Labels["big2"], strings.Repeat("k", 2<<20): ""}, nil
		} else if strings.Contains(text, "LogPath") {
			c.LogPath, c.Labels = c.Labels["big1"], nil
		}
		checkBounded(t, ParseTag, text, c)
	}
}

func checkBounded(t *testing.T, parse func(string) (*Template, error), text string, c *Container) {
	t.Helper()
	tmpl, err := parse(text)
	if err != nil {
		t.Errorf("%.60s: %v", text, err)
		return
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	out, err := tmpl.Execute(c)
	took := time.Since(start)
	runtime.ReadMemStats(&after)

	if err == nil {
		t.Errorf("%.60s: no error, renders %.60q", text, out)
		return
	}
	if _, ok := errors.AsType[*limitError](err); !ok && !strings.Contains(err.Error(), "too") {
		t.Errorf("%.60s: another error: %v", text, err)
	}
	checkLine(t, err.Error())
	// The limit is much longer than these templates take, and much shorter than the hours that they
	// would take. So the load of the machine does not matter.
	if made := (after.TotalAlloc - before.TotalAlloc) >> 20; made > 32 || took > 20*time.Second {
		t.Errorf("%.60s: took %v and %d MiB", text, took, made)
	}
}

func TestRealNamesAreWithinTheLimits(t *testing.T) {
	c := testContainer()
	c.Labels["long"] = strings.Repeat("x", 60_000)
	c.Labels["longer"] = strings.Repeat("y", 200_000)
	for _, text := range []string{
		`{{.Labels.long}}`,
		`{{truncate .Labels.longer 500}}`,
		`{{slice .Labels.longer 0 500}}`,
		`{{range $k, $v := .Env}}{{$k | lower | replace "_" "-"}}{{end}}`,
		`{{pad .Name 500 500}}`,
		`{{range 500}}{{if eq . 499}}{{.}}{{end}}{{end}}`,
		`{{` + strings.Repeat("(", 3000) + ".Name" + strings.Repeat(")", 3000) + `}}`,
		strings.Repeat(`{{if true}}`, 400) + "x" + strings.Repeat(`{{end}}`, 400),
	} {
		tmpl, err := Parse(text)
		if err != nil {
			t.Errorf("%.60s: %v", text, err)
			continue
		}
		if out, err := tmpl.Execute(c); err != nil || out == "" {
			t.Errorf("%.60s: got %.60q, %v", text, out, err)
		}
	}
}

// The size of the data counts before they are printed.
func TestSizeOfTagFieldsCountsAllData(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for i, c := range []*Container{
		{Info: container.Info{ID: big}}, {Info: container.Info{Name: big}}, {Info: container.Info{LogPath: big}},
		{Info: container.Info{Args: []string{big}}}, {Info: container.Info{Env: []string{big}}},
		{Info: container.Info{Labels: map[string]string{big: ""}}}, {Info: container.Info{Config: map[string]string{"": big}}},
		{Attrs: map[string]string{"": big}},
	} {
		if n := sizeOf(newTagFields(c)); n < len(big) {
			t.Errorf("%d: %d bytes", i, n)
		}
	}
}

func TestPrintedPartsAreThoseThatFmtPads(t *testing.T) {
	const width = 1000
	for _, v := range []any{
		"text", 7, true, nil, created(testContainer().Created.UTC()), []string{"a", "b", "c"}, map[string]string{"a": "b", "c": "d"}, []byte("abc"),
		newGroupFields(testContainer()), newTagFields(testContainer()),
	} {
		// fmt pads each part, but not the text between parts, and not nil.
		if parts, padded := printedParts(v), len(fmt.Sprintf("%1000d", v))/width; parts != padded && v != nil {
			t.Errorf("%T has %d parts, and %d are padded", v, parts, padded)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	// The hostile templates would take seconds as seeds. TestHostileTemplatesAreBounded runs them.
	if fuzzing := flag.Lookup("test.fuzz"); fuzzing != nil && fuzzing.Value.String() != "" {
		for _, text := range slices.Concat(hostile, hostileTags) {
			f.Add(text, "X=y", "label")
		}
	}
	f.Add(`{{.Lbl "com.x"}}-{{.Env.X | default "a" | printf "%5s"}}`, "X=y", "aws/\xff:*")
	f.Add(`{{with $x := .}}{{$x.Source}}{{end}}`, "HOSTNAME=h", "\x00")
	f.Add(`{{.ContainerCreated.Format "2006-01-02"}}{{(.ContainerCreated.AddDate 9999999 0 0).Format .Config.tag}}`, "X=y", "2006")
	f.Add(`{{range $k, $v := .ExtraAttributes nil}}{{$k}}{{$v}}{{end}}{{.LogPath}}{{.}}`, "X=y", "label")
	f.Add(`{{define "name"}}{{template "name"}}{{end}}`, "", "")
	f.Fuzz(func(t *testing.T, text, env, label string) {
		c := testContainer()
		c.Env = append(c.Env, env)
		c.Labels["com.x"] = label
		c.Config["tag"] = label
		c.Attrs["com.x"] = label
		for _, parse := range []func(string) (*Template, error){Parse, ParseTag} {
			tmpl, err := parse(text)
			if err != nil {
				checkLine(t, err.Error())
				continue
			}
			if out, err := tmpl.Execute(c); err != nil {
				checkLine(t, err.Error())
			} else if len(out) > maxResult {
				t.Errorf("rendered %d bytes", len(out))
			}
			checkGroup(t, Group(tmpl, c))
			checkStream(t, Stream(tmpl, c))

			// The result must not depend on fields that the template does not use.
			if out, err := tmpl.Execute(c); err == nil && !tmpl.Uses("Source") {
				other := *c
				other.Source = "other"
				if out2, err := tmpl.Execute(&other); err != nil || out2 != out {
					t.Errorf("%q does not use .Source, and renders %q with one and %q, %v with another", text, out, out2, err)
				}
			}
		}
	})
}
