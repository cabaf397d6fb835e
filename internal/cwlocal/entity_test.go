package cwlocal

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

func TestInvalidEntityIsRejectedButItsEventsAreAccepted(t *testing.T) {
	type m = map[string]string
	service := func(more m) m {
		k := m{"Type": "Service", "Name": "shop", "Environment": "prod"}
		maps.Copy(k, more)
		return k
	}
	many := m{}
	for i := range 10 {
		many["a"+strconv.Itoa(i)] = "x"
	}
	tooMany := maps.Clone(many)
	tooMany["one"] = "more"
	for name, k := range map[string]struct {
		key, attributes m
		rejected        string
	}{
		"a service":            {service(nil), nil, ""},
		"ten attributes":       {service(nil), many, ""},
		"longest":              {service(m{"Name": strings.Repeat("ü", 512)}), m{strings.Repeat("k", 256): strings.Repeat("v", 512)}, ""},
		"a resource":           {m{"Type": "AWS::Resource", "ResourceType": "AWS::EC2::Instance", "Identifier": "i-1"}, nil, ""},
		"no key attributes":    {nil, nil, "InvalidKeyAttributes"},
		"one key attribute":    {m{"Type": "Service"}, nil, "InvalidKeyAttributes"},
		"unknown key":          {service(m{"Colour": "red"}), nil, "InvalidKeyAttributes"},
		"name too long":        {service(m{"Name": strings.Repeat("n", 513)}), nil, "InvalidKeyAttributes"},
		"name is empty":        {service(m{"Name": ""}), nil, "InvalidKeyAttributes"},
		"no type":              {m{"Name": "n", "Environment": "e"}, nil, "MissingRequiredFields"},
		"no environment":       {m{"Type": "Service", "Name": "n"}, nil, "MissingRequiredFields"},
		"unknown type":         {service(m{"Type": "Thing"}), nil, "InvalidTypeValue"},
		"eleven attributes":    {service(nil), tooMany, "InvalidAttributes"},
		"attribute is empty":   {service(nil), m{"a": ""}, "InvalidAttributes"},
		"attribute's key long": {service(nil), m{strings.Repeat("k", 257): "v"}, "InvalidAttributes"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newStreamClient(t, Options{})
			e := protocol.Entity{KeyAttributes: k.key, Attributes: k.attributes}
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			body := strings.Replace(batch(at(0, "x")), "{", `{"entity":`+string(text)+",", 1)
			for range 2 {
				var out struct {
					RejectedEntityInfo *struct{ ErrorType string }
				}
				c.ok("PutLogEvents", body).into(t, &out)
				got := ""
				if out.RejectedEntityInfo != nil {
					got = out.RejectedEntityInfo.ErrorType
				}
				if got != k.rejected {
					t.Errorf("rejected as %q, want %q", got, k.rejected)
				}
			}
			st, _ := c.s.Stream(testRegion, "g", "s")
			want := []EntityStats{{Entity: e, Rejected: k.rejected, Batches: 2}}
			if diff := cmp.Diff(want, st.Entities); diff != "" || st.Events != 2 {
				t.Errorf("%d events, entities (-want +got):\n%s", st.Events, diff)
			}
		})
	}
}
