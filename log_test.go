package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// dockerd quotes the plugin's lines once more, so the quotes of an error must not be escaped
// already.
func TestQuotedTextIsNotEscapedInTheLog(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New(`plain text`), `err="plain text"`},
		{fmt.Errorf("couldn't open %q", "/a b"), `err="couldn't open '/a b'"`},
		{fmt.Errorf("log option %q: %q", "group", fmt.Sprintf("template %q", `{{.Lbl "a.b"}}`)), `err="log option 'group': 'template '{{.Lbl 'a.b'}}''"`},
		{fmt.Errorf("%q", fmt.Sprintf("%q", "a\nb")), `err=''a\nb''`},
		{errors.New("two\nlines \x1b[31m"), `err="two\nlines \x1b[31m"`},
	} {
		var out, errs bytes.Buffer
		w := newLineWriter(&out, &errs)
		newLogger(w, false, nil).Error(`it "failed"`, "err", c.err, "n", 1)
		w.Close()
		if want := `level=ERROR msg="it 'failed'" ` + c.want + " n=1\n"; errs.String() != want {
			t.Errorf("logged %swant   %s", errs.String(), want)
		}
		if strings.Count(errs.String(), "\n") != 1 || out.Len() != 0 {
			t.Errorf("logged %q and %q", errs.String(), out.String())
		}
	}
}
