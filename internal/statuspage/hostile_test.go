package statuspage

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/logspool/logspool/internal/status"
)

// hostile are texts that anyone who can start a container can put into a report.
var hostile = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`,
	`javascript:alert(1)`,
	`</title></noscript></svg><script>alert(1)</script>`,
	"line\nanother\r\nline\x00\x1b[31m",
	"\u202egnp.exe\u202c \u2066\u2067 \u05d0\u05d1\u05d2",
	strings.Repeat("W", 512),
	strings.Repeat("шум/", 128),
	"evil.example/#", "{{.Secret}}", "--><!--", "\xff\xfe invalid",
}

// fill sets all strings in v to hostile texts, and makes lists of them.
func fill(v reflect.Value, next func() string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(next())
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct && v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		if !v.IsNil() {
			fill(v.Elem(), next)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), next)
			}
		}
	case reflect.Slice:
		if v.Len() == 0 && v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), len(hostile), len(hostile)))
		}
		for i := range v.Len() {
			fill(v.Index(i), next)
		}
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		for range 3 {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(value, next)
			m.SetMapIndex(reflect.ValueOf(next()), value)
		}
		v.Set(m)
	case reflect.Int, reflect.Int64:
		v.SetInt(-7)
	}
}

func texts() func() string {
	i := 0
	return func() string { i++; return hostile[(i+i/len(hostile))%len(hostile)] }
}

// hostileReport returns a report in which every text is hostile. Some have valid regions and
// states, so that more of the page is shown.
func hostileReport() *status.Report {
	r := &status.Report{}
	fill(reflect.ValueOf(r).Elem(), texts())
	r.Time = sampleTime
	for i := range r.Containers {
		c := &r.Containers[i]
		c.ID, c.Name, c.State = fmt.Sprint(i), hostile[i], status.ContainerRunning
		c.Held = ""
		c.Streams = c.Streams[:2]
		c.Streams[0].Region, c.Streams[0].Endpoint = "eu-west-1", ""
		c.Dropped = map[string]status.Counter{hostile[i]: {Lines: 3}, "x": {Lines: 1}}
	}
	return r
}

func hostileUsage() status.Usage {
	u := sampleUsage()
	u.Ingested = make([]status.Ingested, 4)
	fill(reflect.ValueOf(&u.Ingested).Elem(), texts())
	return u
}
