package cwlocal

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

func (s *Server) createLogGroup(c *call) (any, *protocol.Error) {
	var v violations
	name := c.req.Input.Strings["logGroupName"]
	if err := newName(name); err != nil {
		return nil, err
	}
	v.groupName(&c.req.Input)
	kmsKey := v.optional(&c.req.Input, "kmsKeyId", maxKMSKey, nil)
	class := v.oneOf(&c.req.Input, "logGroupClass", groupClasses)
	tags := v.tags(&c.req.Input)
	if err := v.err(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(strings.ToLower(name), "aws/") {
		return nil, protocol.Invalid("Log groups starting with AWS/ are reserved for AWS.")
	}
	if err := systemTag(tags); err != nil {
		return nil, err
	}
	if kmsKey != "" && !usableKey(kmsKey, c.req.Auth.Region) {
		return nil, protocol.Invalid("The specified KMS key does not exist or is not allowed to be used with LogGroup '%s'", protocol.GroupARN(c.req.Auth.Region, name))
	}
	if class == "" {
		class = "STANDARD"
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	region := s.store.regions[c.req.Auth.Region]
	if region == nil {
		region = map[string]*group{}
		s.store.regions[c.req.Auth.Region] = region
	}
	if region[name] != nil {
		return nil, errGroupExists
	}
	g := &group{name: name, region: c.req.Auth.Region, class: class, kmsKey: kmsKey, created: millis(s.now()),
		tags: map[string]string{}, streams: map[string]*stream{}}
	maps.Copy(g.tags, tags)
	region[name] = g
	return nil, nil
}

// usableKey reports whether a KMS key can be one of the account's in the region. Which keys there are
// is not known here; the service takes ARNs alone, and no aliases.
func usableKey(arn, region string) bool {
	m := keyARNForm.FindStringSubmatch(arn)
	return m != nil && m[1] == region
}

var keyARNForm = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[0-9A-Za-z-]+$`)

// changeGroup is the common part of the calls that name a group and change it, or its place.
func (s *Server) changeGroup(c *call, change func(g *group)) (any, *protocol.Error) {
	var v violations
	name := v.groupName(&c.req.Input)
	if err := v.err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.store.group(c.req.Auth.Region, name)
	if err != nil {
		return nil, err
	}
	change(g)
	return nil, nil
}

func (s *Server) deleteLogGroup(c *call) (any, *protocol.Error) {
	return s.changeGroup(c, func(g *group) { delete(s.store.regions[g.region], g.name) })
}

func (s *Server) putRetentionPolicy(c *call) (any, *protocol.Error) {
	days, ok := c.req.Input.Longs["retentionInDays"]
	var v violations
	switch {
	case !ok:
		v.add("null", "retentionInDays", "not be null")
	case !slices.Contains(retentions, days):
		allowed := make([]string, len(retentions))
		for i, d := range retentions {
			allowed[i] = strconv.FormatInt(d, 10)
		}
		v.add(quoted(strconv.FormatInt(days, 10)), "retentionInDays", "satisfy enum value set: [%s]", strings.Join(allowed, ", "))
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	return s.changeGroup(c, func(g *group) { g.retention = days })
}

func (s *Server) deleteRetentionPolicy(c *call) (any, *protocol.Error) {
	return s.changeGroup(c, func(g *group) { g.retention = 0 })
}

// onTags is the common part of the tagging calls, once their members are checked.
func (s *Server) onTags(c *call, v violations, arn string, do func(g *group) (any, *protocol.Error)) (any, *protocol.Error) {
	if err := v.err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name, ok := protocol.GroupOfARN(c.req.Auth.Region, arn)
	if !ok {
		return nil, protocol.Invalid("The specified resource ARN is not that of a log group in this account and region: %s", arn)
	}
	g, err := s.store.group(c.req.Auth.Region, name)
	if err != nil {
		return nil, err
	}
	return do(g)
}

func (s *Server) tagResource(c *call) (any, *protocol.Error) {
	var v violations
	arn := v.required(&c.req.Input, "resourceArn", maxARN, arnForm)
	tags := v.tags(&c.req.Input)
	if tags == nil {
		v.add("null", "tags", "not be null")
	}
	return s.onTags(c, v, arn, func(g *group) (any, *protocol.Error) {
		if err := systemTag(tags); err != nil {
			return nil, err
		}
		all := maps.Clone(g.tags)
		maps.Copy(all, tags)
		if len(all) > maxTags {
			e := protocol.Refuse("TooManyTagsException", "The resource already has the maximum number of tags allowed: %d", maxTags)
			e.Extra = map[string]string{"resourceName": arn}
			return nil, e
		}
		g.tags = all
		return nil, nil
	})
}

func (s *Server) untagResource(c *call) (any, *protocol.Error) {
	var v violations
	arn := v.required(&c.req.Input, "resourceArn", maxARN, arnForm)
	keys, ok := c.req.Input.Lists["tagKeys"]
	switch {
	case !ok:
		v.add("null", "tagKeys", "not be null")
	case len(keys) > maxTags:
		v.add("'[...]'", "tagKeys", "have length less than or equal to %d", maxTags)
	}
	for i, key := range keys {
		v.checked(key, "tagKeys."+strconv.Itoa(i+1)+".member", maxTagKey, tagKeyForm)
	}
	return s.onTags(c, v, arn, func(g *group) (any, *protocol.Error) {
		for _, key := range keys {
			delete(g.tags, key)
		}
		return nil, nil
	})
}

func (s *Server) listTagsForResource(c *call) (any, *protocol.Error) {
	var v violations
	arn := v.required(&c.req.Input, "resourceArn", maxARN, arnForm)
	return s.onTags(c, v, arn, func(g *group) (any, *protocol.Error) {
		return map[string]any{"tags": maps.Clone(g.tags)}, nil
	})
}

func (s *Server) createLogStream(c *call) (any, *protocol.Error) {
	if err := newName(c.req.Input.Strings["logGroupName"], c.req.Input.Strings["logStreamName"]); err != nil {
		return nil, err
	}
	return s.onStream(c, func(g *group, name string) *protocol.Error {
		if g.streams[name] != nil {
			return errStreamExists
		}
		g.streams[name] = newStream(name, millis(s.now()), s.opts.Keep)
		return nil
	})
}

func (s *Server) deleteLogStream(c *call) (any, *protocol.Error) {
	return s.onStream(c, func(g *group, name string) *protocol.Error {
		if g.streams[name] == nil {
			return errNoStream
		}
		delete(g.streams, name)
		return nil
	})
}

// onStream is the common part of the calls that make or delete a stream.
func (s *Server) onStream(c *call, change func(g *group, name string) *protocol.Error) (any, *protocol.Error) {
	var v violations
	groupName, name := v.groupName(&c.req.Input), v.streamName(&c.req.Input)
	if err := v.err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.store.group(c.req.Auth.Region, groupName)
	if err != nil {
		return nil, err
	}
	if err := change(g, name); err != nil {
		return nil, err
	}
	return nil, nil
}
