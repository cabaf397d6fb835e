package dockertest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSequenceNumbersItsLines(t *testing.T) {
	s := Sequence{Container: "web", Source: Stdout}
	got := []string{s.Next(34), s.Next(40), s.Next(0)}
	want := []string{"c=web s=stdout n=000000 l=34 abcde", "c=web s=stdout n=000001 l=40 bcdefghijkl", "c=web s=stdout n=000002 l=0 "}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
	if s.N != 3 {
		t.Errorf("%d lines made", s.N)
	}
}

func TestCheckerCountsEveryDifference(t *testing.T) {
	out, errs := Sequence{Container: "web", Source: Stdout}, Sequence{Container: "web", Source: Stderr}
	var o, e []string
	for range 4 {
		o, e = append(o, out.Next(50)), append(e, errs.Next(0))
	}
	other := Sequence{Container: "db", Source: Stdout}
	foreign := other.Next(50)
	for _, test := range []struct {
		name    string
		arrived []string
		want    Result
	}{
		{"all", []string{o[0], e[0], o[1], o[2], e[1], e[2], e[3], o[3]}, Result{Arrived: 8}},
		{"nothing", nil, Result{Missing: 8}},
		{"missing", []string{o[1], o[2], e[0], e[1], e[2]}, Result{Arrived: 5, Missing: 3}},
		{"doubled", append([]string{o[0], o[1], o[0], o[1], o[2], o[3]}, e...), Result{Arrived: 8, Doubled: 2}},
		{"out of order", append([]string{o[0], o[2], o[1], o[3]}, e...), Result{Arrived: 8, Disordered: 1}},
		{"damaged", append([]string{o[0][:49], strings.Replace(o[1], "bcd", "bdc", 1), o[2] + "x", o[3],
			"c=web s=stdout n=000000 l=999999999999 "}, e...), Result{Arrived: 5, Missing: 3, Damaged: 4}},
		{"two lines in one", append([]string{o[0] + "\n" + o[1], o[2], o[3]}, e...), Result{Arrived: 6, Missing: 2, Damaged: 1}},
		{"unknown", append([]string{"", "gap", "c=web s=stdout n=x l=1 ", "c=web s=stdout n=-1 l=1 ", "c=web s=stdout n=000004 l=0 ",
			foreign}, append(o, e...)...), Result{Arrived: 8, Unknown: 6}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c Checker
			c.Written(out)
			c.Written(errs)
			for _, m := range test.arrived {
				c.Arrived(m)
			}
			got := c.Result()
			test.want.Written = 8
			if d := cmp.Diff(test.want, got, cmpopts.IgnoreFields(Result{}, "Examples")); d != "" {
				t.Errorf("result (-want +got):\n%s", d)
			}
			if good := test.name == "all"; (got.Err() == nil) != good || (len(got.Examples) == 0) != good {
				t.Errorf("Err is %v", got.Err())
			}
		})
	}
}
