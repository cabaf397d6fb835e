package uploader

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logspool/logspool/events"
	"github.com/logspool/logspool/internal/cwlocal"
	"github.com/logspool/logspool/internal/target"
)

// TestEventsAreSentWithTheirEntity: events of different entities are in different requests.
// An entity that CloudWatch rejects is logged once and costs no events.
func TestEventsAreSentWithTheirEntity(t *testing.T) {
	var log logged
	s, u, local := standIn(t, Options{Log: log.log()})
	many := `{"a":"1","b":"2","c":"3","d":"4","e":"5","f":"6","g":"7","h":"8","i":"9","j":"10"}`
	entities := []target.Entity{
		{},
		{Service: "shop", Environment: "prod"},
		{Service: "shop", Environment: "prod", Attributes: `{"PlatformType":"AWS::EC2","team":"\"a\""}`},
		{Service: "many", Environment: "prod", Attributes: many},
		{Service: "bad"},
	}
	at := time.Now()
	var deliveries []*Delivery
	for i, e := range entities {
		to := local
		to.Entity = e
		feed := newFeed(t)
		for j := range 3 {
			feed.add(at, line(10*i+j))
		}
		deliveries = append(deliveries, u.Attach(to, feed, time.Millisecond))
	}
	for _, d := range deliveries {
		d.Finish()
	}
	for _, d := range deliveries {
		<-d.Done()
	}
	if n := len(arrived(s, local)); n != 15 {
		t.Errorf("%d events", n)
	}
	st, _ := s.Stream(local.Region, local.Group, local.Stream)
	got := map[string]cwlocal.EntityStats{}
	for _, e := range st.Entities {
		got[e.KeyAttributes["Name"]+" "+e.Attributes["team"]] = e
		if e.KeyAttributes["Type"] != "Service" {
			t.Errorf("%+v", e)
		}
	}
	if len(got) != 4 || len(st.Entities) != 4 || st.Batches != 5 {
		t.Errorf("%d batches, entities %+v", st.Batches, st.Entities)
	}
	if e := got[`shop "a"`]; e.Attributes["PlatformType"] != "AWS::EC2" || e.KeyAttributes["Environment"] != "prod" || e.Rejected != "" {
		t.Errorf("%+v", e)
	}
	if e := got["many "]; len(e.Attributes) != 10 || e.Rejected != "" {
		t.Errorf("%+v", e)
	}
	if e := got["bad "]; e.Rejected != "MissingRequiredFields" {
		t.Errorf("%+v", e)
	}
	if n := len(log.with("WARN", "rejected the entity", "MissingRequiredFields", `"Service":"bad"`)); n != 1 || len(log.with("WARN")) != 1 {
		t.Errorf("logged %q", log.with("WARN"))
	}
}

func TestRejectedEntityIsLoggedOncePerError(t *testing.T) {
	var log logged
	u := New(Options{Log: log.log(), connector: newFake(t)})
	defer stop(t, u)
	s := newSender(u, newService(u, target.Access{}, newEndpoint()), target.Target{}, testTarget)
	for _, e := range []string{"", "InvalidEntity", "InvalidAttributes", "InvalidEntity", "", "InvalidAttributes"} {
		s.entityRejected(e)
	}
	if len(log.lines) != 2 || len(log.with("InvalidEntity")) != 1 || len(log.with("InvalidAttributes")) != 1 {
		t.Errorf("logged %q", log.lines)
	}
}

// TestRefusedEntityCostsNoEvents: a request that is refused because of its entity is sent
// again without it.
func TestRefusedEntityCostsNoEvents(t *testing.T) {
	f := newFake(t)
	f.has("g", "s")
	f.entity = func(e string) error {
		if e == "" {
			return nil
		}
		return apiErrWith("InvalidParameterException", "1 validation error detected: Value '{...}' at 'entity.keyAttributes' failed to satisfy constraint")
	}
	var log logged
	u := start(t, f, Options{Log: log.log()})
	feed := newFeed(t)
	for i := range 3 {
		feed.add(time.Now(), line(i))
	}
	to := testTarget
	to.Entity = target.Entity{Service: strings.Repeat("x", 600), Environment: "e"}
	d := u.Attach(to, feed, 0)
	d.Finish()
	<-d.Done()
	stop(t, u)
	checkShown(t, f.shown("g", "s"), feed, false, nil)
	if n := f.count("put"); n != 2 || len(log.with("WARN", "refuses the entity")) != 1 || u.Metrics().DroppedEvents[events.Refused] != 0 {
		t.Errorf("%d requests, logged %q", n, log.lines)
	}
}

// TestEntityIsDroppedOnlyIfTheErrorIsAboutIt: a service that does not know entities, or
// whose error looks as if it were about a group's name, gets the events without the entity.
// An error about what HTTP calls an entity does not drop the entity.
func TestEntityIsDroppedOnlyIfTheErrorIsAboutIt(t *testing.T) {
	for message, dropped := range map[string]bool{
		"Unknown parameter in input: \"entity\"":                                        true,
		"Value '{Name=log-group-a}' at 'entity.keyAttributes' failed to satisfy a rule": true,
		"Request Entity Too Large":                                                      false,
		"Unprocessable entity":                                                          false,
		"Log group name is not valid":                                                   false,
	} {
		for _, code := range []string{"ValidationException", "InvalidParameterException", "UnknownParameter"} {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.has("g", "s")
				refused := 0
				f.entity = func(e string) error {
					if refused++; e == "" || !dropped && refused > 1 {
						return nil
					}
					return apiErrWith(code, message)
				}
				var log logged
				u := start(t, f, Options{Log: log.log()})
				feed := newFeed(t)
				feed.add(time.Now(), line(0))
				feed.add(time.Now(), line(1))
				to := testTarget
				to.Entity = target.Entity{Service: "x", Environment: "e"}
				d := u.Attach(to, feed, 0)
				d.Finish()
				select {
				case <-d.Done():
				case <-time.After(time.Hour):
					t.Errorf("%s: %s: the events are not delivered", code, message)
				}
				stop(t, u)
				if n := len(log.with("WARN", "refuses the entity")); (n == 1) != dropped || n > 1 {
					t.Errorf("%s: %s: logged %q", code, message, log.lines)
				}
			})
		}
	}
}
