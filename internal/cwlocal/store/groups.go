package store

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

func (s *Store) createLogGroup(r *protocol.Request) (any, *protocol.Error) {
	var v violations
	name := r.Input.Strings["logGroupName"]
	if err := newName(name); err != nil {
		return nil, err
	}
	v.groupName(&r.Input)
	kmsKey := v.optional(&r.Input, "kmsKeyId", maxKMSKey, nil)
	class := v.oneOf(&r.Input, "logGroupClass", groupClasses)
	tags := v.tags(&r.Input)
	if err := v.err(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(strings.ToLower(name), "aws/") {
		return nil, protocol.Invalid("Log groups starting with AWS/ are reserved for AWS.")
	}
	if err := systemTag(tags); err != nil {
		return nil, err
	}
	if kmsKey != "" && !usableKey(kmsKey, r.Auth.Region) {
		return nil, protocol.Invalid("The specified KMS key does not exist or is not allowed to be used with LogGroup '%s'",
			protocol.GroupARN(r.Auth.Region, name))
	}
	if class == "" {
		class = "STANDARD"
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	region := s.regions[r.Auth.Region]
	if region == nil {
		region = map[string]*group{}
		s.regions[r.Auth.Region] = region
	}
	if region[name] != nil {
		return nil, errGroupExists
	}
	g := &group{name: name, region: r.Auth.Region, class: class, kmsKey: kmsKey, created: millis(s.opts.Now()),
		tags: map[string]string{}, streams: map[string]*stream{}}
	maps.Copy(g.tags, tags)
	region[name] = g
	return nil, nil
}

// usableKey reports whether a KMS key may be used in the region. The stand-in does not know
// which keys exist. The service accepts ARNs only, and no aliases.
func usableKey(arn, region string) bool {
	m := keyARNForm.FindStringSubmatch(arn)
	return m != nil && m[1] == region
}

var keyARNForm = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[0-9A-Za-z-]+$`)

// changeGroup is the common part of the operations that change or delete a group. change
// runs with s.mu held.
func (s *Store) changeGroup(r *protocol.Request, change func(g *group)) (any, *protocol.Error) {
	var v violations
	name := v.groupName(&r.Input)
	if err := v.err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(r.Auth.Region, name)
	if err != nil {
		return nil, err
	}
	change(g)
	return nil, nil
}

func (s *Store) deleteLogGroup(r *protocol.Request) (any, *protocol.Error) {
	return s.changeGroup(r, func(g *group) { delete(s.regions[g.region], g.name) })
}

func (s *Store) putRetentionPolicy(r *protocol.Request) (any, *protocol.Error) {
	days, ok := r.Input.Longs["retentionInDays"]
	var v violations
	switch {
	case !ok:
		v.add("null", "retentionInDays", "not be null")
	case !slices.Contains(retentions, days):
		allowed := make([]string, len(retentions))
		for i, d := range retentions {
			allowed[i] = strconv.FormatInt(d, 10)
		}
		v.add(quoted(strconv.FormatInt(days, 10)), "retentionInDays",
			"satisfy enum value set: [%s]", strings.Join(allowed, ", "))
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	return s.changeGroup(r, func(g *group) { g.retention = days })
}

func (s *Store) deleteRetentionPolicy(r *protocol.Request) (any, *protocol.Error) {
	return s.changeGroup(r, func(g *group) { g.retention = 0 })
}

// onTags is the common part of the tag operations, after v has checked their members. do
// runs with s.mu held.
func (s *Store) onTags(r *protocol.Request, v violations, arn string, do func(*group) (any, *protocol.Error)) (
	any, *protocol.Error) {
	if err := v.err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name, ok := protocol.GroupOfARN(r.Auth.Region, arn)
	if !ok {
		return nil, protocol.Invalid("The specified resource ARN is not that of a log group in this account and region: %s", arn)
	}
	g, err := s.group(r.Auth.Region, name)
	if err != nil {
		return nil, err
	}
	return do(g)
}

func (s *Store) tagResource(r *protocol.Request) (any, *protocol.Error) {
	var v violations
	arn := v.required(&r.Input, "resourceArn", maxARN, arnForm)
	tags := v.tags(&r.Input)
	if tags == nil {
		v.add("null", "tags", "not be null")
	}
	return s.onTags(r, v, arn, func(g *group) (any, *protocol.Error) {
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

func (s *Store) untagResource(r *protocol.Request) (any, *protocol.Error) {
	var v violations
	arn := v.required(&r.Input, "resourceArn", maxARN, arnForm)
	keys, ok := r.Input.Lists["tagKeys"]
	switch {
	case !ok:
		v.add("null", "tagKeys", "not be null")
	case len(keys) > maxTags:
		v.add("'[...]'", "tagKeys", "have length less than or equal to %d", maxTags)
	}
	for i, key := range keys {
		v.checked(key, "tagKeys."+strconv.Itoa(i+1)+".member", maxTagKey, tagKeyForm)
	}
	return s.onTags(r, v, arn, func(g *group) (any, *protocol.Error) {
		for _, key := range keys {
			delete(g.tags, key)
		}
		return nil, nil
	})
}

func (s *Store) listTagsForResource(r *protocol.Request) (any, *protocol.Error) {
	var v violations
	arn := v.required(&r.Input, "resourceArn", maxARN, arnForm)
	return s.onTags(r, v, arn, func(g *group) (any, *protocol.Error) {
		return map[string]any{"tags": maps.Clone(g.tags)}, nil
	})
}

func (s *Store) createLogStream(r *protocol.Request) (any, *protocol.Error) {
	if err := newName(r.Input.Strings["logGroupName"], r.Input.Strings["logStreamName"]); err != nil {
		return nil, err
	}
	return s.onStream(r, func(g *group, name string) *protocol.Error {
		if g.streams[name] != nil {
			return errStreamExists
		}
		g.streams[name] = newStream(name, millis(s.opts.Now()), s.opts.Keep)
		return nil
	})
}

func (s *Store) deleteLogStream(r *protocol.Request) (any, *protocol.Error) {
	return s.onStream(r, func(g *group, name string) *protocol.Error {
		if g.streams[name] == nil {
			return errNoStream
		}
		delete(g.streams, name)
		return nil
	})
}

// onStream is the common part of the operations that create or delete a stream. change runs
// with s.mu held.
func (s *Store) onStream(r *protocol.Request, change func(g *group, name string) *protocol.Error) (
	any, *protocol.Error) {
	var v violations
	groupName, name := v.groupName(&r.Input), v.streamName(&r.Input)
	if err := v.err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(r.Auth.Region, groupName)
	if err != nil {
		return nil, err
	}
	if err := change(g, name); err != nil {
		return nil, err
	}
	return nil, nil
}
