package store

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/logspool/logspool/internal/cwlocal/protocol"
)

type groupDescription struct {
	ARN          string `json:"arn"`
	Created      int64  `json:"creationTime"`
	Protected    bool   `json:"deletionProtectionEnabled"`
	KMSKey       string `json:"kmsKeyId,omitempty"`
	LogGroupARN  string `json:"logGroupArn"`
	Class        string `json:"logGroupClass"`
	Name         string `json:"logGroupName"`
	MetricFilter int    `json:"metricFilterCount"`
	Retention    int64  `json:"retentionInDays,omitempty"`
	StoredBytes  int64  `json:"storedBytes"`
}

func (s *Store) describeLogGroups(r *protocol.Request) (any, *protocol.Error) {
	var v violations
	prefix := v.optional(&r.Input, "logGroupNamePrefix", maxName, groupNameForm)
	part := r.Input.Strings["logGroupNamePattern"]
	if part != "" {
		v.checked(part, "logGroupNamePattern", maxName, groupNameForm)
	}
	class := v.oneOf(&r.Input, "logGroupClass", groupClasses)
	limit := v.between(&r.Input, "limit", 1, maxListPage, maxListPage)
	token := v.optional(&r.Input, "nextToken", math.MaxInt, nil)
	if err := v.err(); err != nil {
		return nil, err
	}
	if prefix != "" && part != "" {
		return nil, protocol.Invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	after, err := parseListToken(token)
	if err != nil {
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	list := []groupDescription{}
	for name, g := range s.regions[r.Auth.Region] {
		if strings.HasPrefix(name, prefix) && strings.Contains(strings.ToLower(name), strings.ToLower(part)) &&
			(class == "" || class == g.class) {
			list = append(list, g.describe())
		}
	}
	slices.SortFunc(list, func(a, b groupDescription) int { return strings.Compare(a.Name, b.Name) })
	list, next := page(list, limit, token != "",
		func(g groupDescription) int { return strings.Compare(g.Name, after.name) },
		func(g groupDescription) listToken { return listToken{name: g.Name} })
	return struct {
		Groups []groupDescription `json:"logGroups"`
		Next   string             `json:"nextToken,omitempty"`
	}{list, next}, nil
}

func (g *group) describe() groupDescription {
	arn := protocol.GroupARN(g.region, g.name)
	return groupDescription{ARN: arn + ":*", Created: g.created, KMSKey: g.kmsKey, LogGroupARN: arn,
		Class: g.class, Name: g.name, Retention: g.retention}
}

type streamDescription struct {
	ARN          string `json:"arn"`
	Created      int64  `json:"creationTime"`
	First        *int64 `json:"firstEventTimestamp,omitempty"`
	Last         *int64 `json:"lastEventTimestamp,omitempty"`
	LastIngested int64  `json:"lastIngestionTime,omitempty"`
	Name         string `json:"logStreamName"`
	StoredBytes  int64  `json:"storedBytes"`
	UploadToken  string `json:"uploadSequenceToken,omitempty"`
}

func (d *streamDescription) last() int64 {
	if d.Last == nil {
		return -1
	}
	return *d.Last
}

func (s *Store) describeLogStreams(r *protocol.Request) (any, *protocol.Error) {
	var v violations
	groupName := v.groupNameOrARN(r)
	prefix := v.optional(&r.Input, "logStreamNamePrefix", maxName, streamNameForm)
	order := v.oneOf(&r.Input, "orderBy", []string{"LogStreamName", "LastEventTime"})
	limit := v.between(&r.Input, "limit", 1, maxListPage, maxListPage)
	token := v.optional(&r.Input, "nextToken", math.MaxInt, nil)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := oneGroupName(&r.Input); err != nil {
		return nil, err
	}
	byTime := order == "LastEventTime"
	if byTime && prefix != "" {
		return nil, protocol.Invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	after, err := parseListToken(token)
	if err != nil {
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(r.Auth.Region, groupName)
	if err != nil {
		return nil, err
	}
	list := []streamDescription{}
	for name, st := range g.streams {
		if strings.HasPrefix(name, prefix) {
			list = append(list, st.describe(g))
		}
	}
	compare := func(a streamDescription, time int64, name string) int {
		n := strings.Compare(a.Name, name)
		if byTime {
			n = cmp.Or(cmp.Compare(a.last(), time), n)
		}
		if r.Input.Booleans["descending"] {
			return -n
		}
		return n
	}
	slices.SortFunc(list, func(a, b streamDescription) int { return compare(a, b.last(), b.Name) })
	list, next := page(list, limit, token != "",
		func(d streamDescription) int { return compare(d, after.time, after.name) },
		func(d streamDescription) listToken { return listToken{time: d.last(), name: d.Name} })
	return struct {
		Streams []streamDescription `json:"logStreams"`
		Next    string              `json:"nextToken,omitempty"`
	}{list, next}, nil
}

func (st *stream) describe(g *group) streamDescription {
	d := streamDescription{ARN: protocol.GroupARN(g.region, g.name) + ":log-stream:" + st.name,
		Created: st.created, Name: st.name}
	if st.stats.Events > 0 {
		first, last := st.stats.FirstTimestamp, st.stats.LastTimestamp
		d.First, d.Last, d.LastIngested = &first, &last, st.lastIngested
		d.UploadToken = protocol.SequenceToken(uint64(st.stats.Batches))
	}
	return d
}

// A listToken names the last entry of a page. The next page starts after it, even if it has
// been deleted.
type listToken struct {
	time int64
	name string
}

func (t listToken) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d/%s", t.time, t.name))
}

func parseListToken(s string) (t listToken, err *protocol.Error) {
	if s == "" {
		return t, nil
	}
	b, bad := base64.RawURLEncoding.DecodeString(s)
	time, name, ok := strings.Cut(string(b), "/")
	n, bad2 := strconv.ParseInt(time, 10, 64)
	if bad != nil || bad2 != nil || !ok {
		return t, errBadToken
	}
	return listToken{n, name}, nil
}

// page returns one page of a sorted list, and the token for the next page, which is empty
// if there is none. If skip is set, the page starts with the first entry for which compare
// is positive.
func page[T any](list []T, limit int64, skip bool, compare func(T) int, token func(T) listToken) ([]T, string) {
	if skip {
		i := slices.IndexFunc(list, func(e T) bool { return compare(e) > 0 })
		if i < 0 {
			i = len(list)
		}
		list = list[i:]
	}
	if int64(len(list)) <= limit {
		return list, ""
	}
	list = list[:limit]
	return list, token(list[limit-1]).String()
}

// GroupInfo describes a group.
type GroupInfo struct {
	Region, Name, Class, KMSKey string
	RetentionDays               int
	Tags                        map[string]string
}

// Groups lists all groups by region and name.
func (s *Store) Groups() []GroupInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []GroupInfo
	for _, groups := range s.regions {
		for _, g := range groups {
			list = append(list, GroupInfo{g.region, g.name, g.class, g.kmsKey, int(g.retention), maps.Clone(g.tags)})
		}
	}
	slices.SortFunc(list, func(a, b GroupInfo) int {
		return cmp.Or(strings.Compare(a.Region, b.Region), strings.Compare(a.Name, b.Name))
	})
	return list
}
