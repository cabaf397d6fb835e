package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The rules are those of moby's ExtraAttributes (daemon/logger/loginfo.go).
func TestAttrsAreDockers(t *testing.T) {
	labels := map[string]string{"a": "1", "com.x": "2", "com.y": "", "both": "label"}
	env := []string{"A=1", "XA=a=b", "XB=", "NOVALUE", "A=2", "both=env", "=x"}
	for _, test := range []struct {
		opts opts
		want map[string]string
	}{
		{nil, nil},
		{opts{"labels": "a"}, opts{"a": "1"}},
		{opts{"labels": "a,com.y,none"}, opts{"a": "1", "com.y": ""}},
		{opts{"labels": "com.x, a"}, opts{"com.x": "2"}}, // Docker trims nothing
		{opts{"labels-regex": `^com\.`}, opts{"com.x": "2", "com.y": ""}},
		{opts{"labels": "a", "labels-regex": `x$`}, opts{"a": "1", "com.x": "2"}},
		{opts{"env": "A,NOVALUE,a"}, opts{"A": "2"}},
		{opts{"env-regex": "^X"}, opts{"XA": "a=b", "XB": ""}},
		{opts{"env": "A", "env-regex": "A$"}, opts{"A": "2", "XA": "a=b"}},
		{opts{"labels": "both", "env": "both"}, opts{"both": "env"}},
		{opts{"labels": "A", "env": "a", "labels-regex": "^A$", "env-regex": "^a$"}, nil},
	} {
		c, err := mustLoad(t, "CONTAINER_ENV=off").Container(test.opts, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, c.Attrs(labels, env), compare); diff != "" {
			t.Errorf("%v: want -, got +\n%s", test.opts, diff)
		}
	}
	c, _ := mustLoad(t).Container(opts{"labels": "a", "env": "A"}, nil, nil)
	if got := c.Attrs(nil, nil); got == nil || len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
