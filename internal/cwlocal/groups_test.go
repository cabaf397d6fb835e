package cwlocal

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func tagsJSON(n int, key func(int) string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,%s:"v"`, quote(key(i)))
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

func TestCreateLogGroupChecksItsMembers(t *testing.T) {
	const one = "1 validation error detected: Value "
	numbered := func(i int) string { return fmt.Sprint("k", i) }
	lengthAt := func(value, member string, n int) string {
		return fmt.Sprintf("%s'%s' at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", one, value, member, n)
	}
	const noKey = "The specified KMS key does not exist or is not allowed to be used with LogGroup 'arn:aws:logs:eu-central-1:123456789012:log-group:a'"
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct{ name, body, message string }{
		{"one character", `{"logGroupName":"a"}`, ""},
		{"every character", `{"logGroupName":".-_/#AZaz09"}`, ""},
		{"512 characters", `{"logGroupName":"` + x(512) + `"}`, ""},
		{"513 characters", `{"logGroupName":"` + x(513) + `"}`, "Invalid LogGroup or LogStream, both must have length less than or equal to 512."},
		{"empty", `{"logGroupName":""}`, one + "'' at 'logGroupName' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"missing", `{}`, one + "null at 'logGroupName' failed to satisfy constraint: Member must not be null"},
		{"a space", `{"logGroupName":"a b"}`, one + `'a b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`},
		{"an umlaut", `{"logGroupName":"ä"}`, one + `'ä' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`},
		{"aws/", `{"logGroupName":"aws/x"}`, "Log groups starting with AWS/ are reserved for AWS."},
		{"/aws/", `{"logGroupName":"/aws/x"}`, ""},
		{"aws without a slash", `{"logGroupName":"aws"}`, ""},

		{"every class", `{"logGroupName":"a","logGroupClass":"INFREQUENT_ACCESS"}`, ""},
		{"no class", `{"logGroupName":"a","logGroupClass":"CHEAP"}`, one + "'CHEAP' at 'logGroupClass' failed to satisfy constraint: Member must satisfy enum value set: [STANDARD, INFREQUENT_ACCESS, DELIVERY, ESSENTIALS]"},
		{"key", `{"logGroupName":"a","kmsKeyId":"arn:aws:kms:eu-central-1:123456789012:key/mrk-1"}`, ""},
		{"key of another partition", `{"logGroupName":"a","kmsKeyId":"arn:aws-cn:kms:eu-central-1:123456789012:key/1"}`, ""},
		{"key of 256", `{"logGroupName":"a","kmsKeyId":"arn:aws:kms:eu-central-1:123456789012:key/` + x(211) + `"}`, ""},
		{"key of another region", `{"logGroupName":"a","kmsKeyId":"arn:aws:kms:us-east-1:123456789012:key/1"}`, noKey},
		{"key by its ID", `{"logGroupName":"a","kmsKeyId":"1234abcd"}`, noKey},
		{"key by an alias", `{"logGroupName":"a","kmsKeyId":"arn:aws:kms:eu-central-1:123456789012:alias/logs"}`, noKey},
		{"key of 257", `{"logGroupName":"a","kmsKeyId":"` + x(257) + `"}`, lengthAt(x(257), "kmsKeyId", 256)},

		{"50 tags", `{"logGroupName":"a","tags":` + tagsJSON(50, numbered) + `}`, ""},
		{"51 tags", `{"logGroupName":"a","tags":` + tagsJSON(51, numbered) + `}`, one + "'{...}' at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"},
		{"no tags", `{"logGroupName":"a","tags":{}}`, one + "'{}' at 'tags' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"tag key of 128", `{"logGroupName":"a","tags":{"` + x(128) + `":"v"}}`, ""},
		{"tag key of 129", `{"logGroupName":"a","tags":{"` + x(129) + `":"v"}}`, lengthAt(x(129), "tags."+x(129)+".key", 128)},
		{"tag value of 256", `{"logGroupName":"a","tags":{"k":"` + x(256) + `"}}`, ""},
		{"tag value of 257", `{"logGroupName":"a","tags":{"k":"` + x(257) + `"}}`, lengthAt(x(257), "tags.k.member", 256)},
		{"tag value empty", `{"logGroupName":"a","tags":{"k":""}}`, ""},
		{"tag key with !", `{"logGroupName":"a","tags":{"k!":"v"}}`, one + `'k!' at 'tags.k!.key' failed to satisfy constraint: Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+`},
		{"tag key of AWS", `{"logGroupName":"a","tags":{"aws:k":"v"}}`, "System tags cannot be added/updated by requester"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, Options{})
			if tc.message == "" {
				c.ok("CreateLogGroup", tc.body)
				return
			}
			c.refused("CreateLogGroup", tc.body, "InvalidParameterException", tc.message)
			if len(c.s.Groups()) != 0 {
				t.Error("the group was created")
			}
		})
	}
}

func TestCreateLogStreamChecksTheName(t *testing.T) {
	const one = "1 validation error detected: Value "
	for _, tc := range []struct{ name, stream, message string }{
		{"one character", "a", ""},
		{"odd characters", "a b/ä#?[]{}\\", ""},
		{"512 characters", strings.Repeat("ä", 512), ""},
		{"513 characters", strings.Repeat("x", 513), "Invalid LogGroup or LogStream, both must have length less than or equal to 512."},
		{"empty", "", one + "'' at 'logStreamName' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"colon", "a:b", one + "'a:b' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*"},
		{"asterisk", "*", one + "'*' at 'logStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [^:*]*"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, Options{})
			c.ok("CreateLogGroup", `{"logGroupName":"g"}`)
			body := `{"logGroupName":"g","logStreamName":` + quote(tc.stream) + `}`
			if tc.message == "" {
				c.ok("CreateLogStream", body)
			} else {
				c.refused("CreateLogStream", body, "InvalidParameterException", tc.message)
			}
		})
	}
}

func TestDeletedGroupsAndStreamsAreNotFound(t *testing.T) {
	c := newStreamClient(t, Options{})
	group, stream := `{"logGroupName":"g"}`, `{"logGroupName":"g","logStreamName":"s"}`
	c.refused("CreateLogGroup", group, "ResourceAlreadyExistsException", "The specified log group already exists")
	c.refused("CreateLogStream", stream, "ResourceAlreadyExistsException", "The specified log stream already exists")
	c.ok("DeleteLogStream", stream)
	c.refused("DeleteLogStream", stream, "ResourceNotFoundException", "The specified log stream does not exist.")
	c.refused("PutLogEvents", batch(at(0, "x")), "ResourceNotFoundException", "The specified log stream does not exist.")
	c.ok("DeleteLogGroup", group)
	for op, body := range map[string]string{"DeleteLogGroup": group, "CreateLogStream": stream, "DeleteLogStream": stream,
		"PutLogEvents": batch(at(0, "x")), "PutRetentionPolicy": `{"logGroupName":"g","retentionInDays":1}`, "DeleteRetentionPolicy": group,
		"DescribeLogStreams": group, "GetLogEvents": stream, "FilterLogEvents": group,
		"TagResource":         `{"resourceArn":"arn:aws:logs:` + testRegion + `:123456789012:log-group:g","tags":{"a":"b"}}`,
		"ListTagsForResource": `{"resourceArn":"arn:aws:logs:` + testRegion + `:123456789012:log-group:g"}`} {
		c.refused(op, body, "ResourceNotFoundException", "The specified log group does not exist.")
	}
	if r := c.s.Refusals(); len(r) != 0 {
		t.Errorf("errors about existence were counted as refusals: %v", r)
	}
}

func TestRegionsShareNothing(t *testing.T) {
	c := newStreamClient(t, Options{})
	other := *c
	other.region = "us-west-2"
	other.refused("PutLogEvents", batch(at(0, "x")), "ResourceNotFoundException", "The specified log group does not exist.")
	other.ok("CreateLogGroup", `{"logGroupName":"g"}`)
	other.ok("CreateLogStream", `{"logGroupName":"g","logStreamName":"s"}`)
	other.ok("PutLogEvents", batch(at(0, "there")))
	c.ok("PutLogEvents", batch(at(0, "here")))
	if got := messages(c.s.Arrived("us-west-2", "g", "s")); !slices.Equal(got, []string{"there"}) {
		t.Errorf("us-west-2 has %q", got)
	}
	if got := messages(c.s.Arrived(testRegion, "g", "s")); !slices.Equal(got, []string{"here"}) {
		t.Errorf("%s has %q", testRegion, got)
	}
}

func TestRetentionAcceptsOnlyTheServicesValues(t *testing.T) {
	c := newStreamClient(t, Options{})
	allowed := map[int]bool{}
	for _, d := range []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653} {
		allowed[d] = true
	}
	for d := -1; d <= 3700; d++ {
		res := c.do("PutRetentionPolicy", fmt.Sprintf(`{"logGroupName":"g","retentionInDays":%d}`, d))
		if (res.status == 200) != allowed[d] {
			t.Errorf("%d days: got %d", d, res.status)
		}
		if res.status != 200 && res.code != "InvalidParameterException" {
			t.Errorf("%d days: got %s", d, res.code)
		}
	}
	if got := c.s.Groups()[0].RetentionDays; got != 3653 {
		t.Errorf("retention is %d", got)
	}
	c.ok("DeleteRetentionPolicy", `{"logGroupName":"g"}`)
	if got := c.s.Groups()[0].RetentionDays; got != 0 {
		t.Errorf("retention is %d after it was deleted", got)
	}
	c.refused("PutRetentionPolicy", `{"logGroupName":"g"}`, "InvalidParameterException",
		"1 validation error detected: Value null at 'retentionInDays' failed to satisfy constraint: Member must not be null")
}

func TestTagsCanBeChangedWithinTheLimits(t *testing.T) {
	c := newClient(t, Options{})
	arn := "arn:aws:logs:" + testRegion + ":123456789012:log-group:g"
	key := "arn:aws:kms:" + testRegion + ":123456789012:key/1"
	c.ok("CreateLogGroup", `{"logGroupName":"g","tags":{"a":"1","b":"2"},"logGroupClass":"DELIVERY","kmsKeyId":"`+key+`"}`)
	c.ok("TagResource", `{"resourceArn":"`+arn+`","tags":{"b":"3","c":"4"}}`)
	want := map[string]string{"a": "1", "b": "3", "c": "4"}
	var out struct{ Tags map[string]string }
	c.ok("ListTagsForResource", `{"resourceArn":"`+arn+`"}`).into(t, &out)
	if diff := cmp.Diff(want, out.Tags); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]GroupInfo{{Region: testRegion, Name: "g", Class: "DELIVERY", KMSKey: key, Tags: want}}, c.s.Groups()); diff != "" {
		t.Error(diff)
	}
	c.ok("TagResource", `{"resourceArn":"`+arn+`","tags":`+tagsJSON(47, func(i int) string { return fmt.Sprint("k", i) })+`}`)
	c.ok("TagResource", `{"resourceArn":"`+arn+`","tags":{"a":"replaced"}}`)
	c.refused("TagResource", `{"resourceArn":"`+arn+`","tags":{"one more":"x"}}`, "TooManyTagsException", "The resource already has the maximum number of tags allowed: 50")
	c.refused("TagResource", `{"resourceArn":"`+arn+`","tags":{"aws:x":"x"}}`, "InvalidParameterException", "System tags cannot be added/updated by requester")
	c.refused("TagResource", `{"resourceArn":"`+arn+`"}`, "InvalidParameterException", "1 validation error detected: Value null at 'tags' failed to satisfy constraint: Member must not be null")
	c.ok("UntagResource", `{"resourceArn":"`+arn+`","tagKeys":["b","c","never there"]}`)
	if tags := c.s.Groups()[0].Tags; len(tags) != 48 || tags["a"] != "replaced" || tags["b"] != "" {
		t.Errorf("tags after some were removed: %v", tags)
	}
	c.refused("UntagResource", `{"resourceArn":"`+arn+`"}`, "InvalidParameterException", "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null")
	c.refused("UntagResource", `{"resourceArn":"`+arn+`","tagKeys":[""]}`, "InvalidParameterException", "1 validation error detected: Value '' at 'tagKeys.1.member' failed to satisfy constraint: Member must have length greater than or equal to 1")
	var described struct {
		LogGroups []struct {
			LogGroupClass, KMSKeyID string
			RetentionInDays         int
		}
	}
	c.ok("PutRetentionPolicy", `{"logGroupName":"g","retentionInDays":30}`)
	c.ok("DescribeLogGroups", `{}`).into(t, &described)
	if got := fmt.Sprint(described.LogGroups); got != "[{DELIVERY "+key+" 30}]" {
		t.Errorf("described as %s", got)
	}
	other := "arn:aws:logs:us-east-1:123456789012:log-group:g"
	c.refused("TagResource", `{"resourceArn":"`+other+`","tags":{"a":"b"}}`, "InvalidParameterException",
		"The specified resource ARN is not that of a log group in this account and region: "+other)
}
