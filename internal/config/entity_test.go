package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/logspool/logspool/internal/container"
	"github.com/logspool/logspool/internal/target"
	"github.com/logspool/logspool/naming"
)

func manyAttributes(n int) string {
	pairs := make([]string, n)
	for i := range pairs {
		pairs[i] = fmt.Sprintf("k%d=v", i)
	}
	return strings.Join(pairs, ",")
}

func TestEntityIsRendered(t *testing.T) {
	of := naming.Container{Info: container.Info{ID: strings.Repeat("0", 64), Name: "/web", Labels: map[string]string{"team": "shop", "empty": ""}}, LoggerHost: "node"}
	ec2 := of
	ec2.InstanceID = "i-0abc"
	const agent = `"AWS.ServiceNameSource":"UserConfiguration","EC2.InstanceId":"i-0abc"`
	for _, test := range []struct {
		name   string
		plugin []string
		opts   opts
		of     naming.Container
		want   target.Entity
	}{
		{"none", nil, nil, ec2, target.Entity{}},
		{"attributes alone are none", []string{"ENTITY_ATTRIBUTES=a=b"}, nil, ec2, target.Entity{}},
		{"a service", nil, opts{"entity-service-name": "shop"}, of, target.Entity{Service: "shop"}},
		{"an environment", nil, opts{"entity-environment": "prod"}, of, target.Entity{Environment: "prod"}},
		{"all", nil, opts{"entity-service-name": "{{.Name}}", "entity-environment": "{{.Labels.team}}", "entity-attributes": "b = 2,a=x=y"}, of,
			target.Entity{Service: "web", Environment: "shop", Attributes: `{"a":"x=y","b":"2"}`}},
		{"awslogs's fields", nil, opts{"awslogs-entity-service-name": "{{.ID}}", "awslogs-entity-environment": "{{.ContainerLabels.team}}",
			"awslogs-entity-attributes": "a=b"}, of, target.Entity{Service: "000000000000", Environment: "shop", Attributes: `{"a":"b"}`}},
		{"settings", []string{"ENTITY_SERVICE_NAME={{.LoggerHost}}", "ENTITY_ENVIRONMENT=prod", "ENTITY_ATTRIBUTES=a=b"}, nil, of,
			target.Entity{Service: "node", Environment: "prod", Attributes: `{"a":"b"}`}},
		{"options before settings", []string{"ENTITY_SERVICE_NAME=s", "ENTITY_ENVIRONMENT=prod", "ENTITY_ATTRIBUTES=a=b"},
			opts{"entity-environment": "test", "entity-attributes": "c=d"}, of, target.Entity{Service: "s", Environment: "test", Attributes: `{"c":"d"}`}},
		{"nothing rendered is none", nil, opts{"entity-service-name": "{{.Labels.empty}}", "entity-environment": "{{.Labels.missing}}",
			"entity-attributes": "a=b"}, ec2, target.Entity{}},
		{"nothing rendered is left out", nil, opts{"entity-service-name": "s", "entity-environment": "<no value>"}, of, target.Entity{Service: "s"}},
		{"on EC2", nil, opts{"entity-service-name": "s"}, ec2, target.Entity{Service: "s", Attributes: `{` + agent + `,"PlatformType":"AWS::EC2"}`}},
		{"an environment on EC2", nil, opts{"entity-environment": "e"}, ec2,
			target.Entity{Environment: "e", Attributes: `{"EC2.InstanceId":"i-0abc","PlatformType":"AWS::EC2"}`}},
		{"own attributes come first", nil, opts{"entity-service-name": "s", "entity-attributes": "PlatformType=Generic"}, ec2,
			target.Entity{Service: "s", Attributes: `{` + agent + `,"PlatformType":"Generic"}`}},
		{"no room for the agent's", nil, opts{"entity-service-name": "s", "entity-attributes": manyAttributes(9)}, ec2, target.Entity{Service: "s",
			Attributes: `{"PlatformType":"AWS::EC2","k0":"v","k1":"v","k2":"v","k3":"v","k4":"v","k5":"v","k6":"v","k7":"v","k8":"v"}`}},
	} {
		s := mustLoad(t, test.plugin...)
		c, err := s.Container(test.opts, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Entity(&test.of)
		if got != test.want || err != nil {
			t.Errorf("%s: got %+v, %v, want %+v", test.name, got, err, test.want)
		}
		if again, _ := c.Entity(&of); again.Attributes != "" && strings.Contains(again.Attributes, "EC2.InstanceId") {
			t.Errorf("%s: the container's own attributes have changed: %s", test.name, again.Attributes)
		}
	}

	c, err := mustLoad(t).Container(opts{"entity-service-name": `{{.Lbl "none"}}`, "entity-environment": "e"}, nil, nil)
	if err != nil || !c.EntityUses("Lbl") || c.EntityUses("Host") {
		t.Errorf("got %+v, %v", c, err)
	}
	e, err := c.Entity(&of)
	if e != (target.Entity{Environment: "e"}) || err == nil || !strings.Contains(err.Error(), `entity-service-name: template "{{.Lbl`) {
		t.Errorf("got %+v, %v", e, err)
	}
	lines(t, err)
	c, _ = mustLoad(t).Container(opts{"awslogs-entity-attributes": "a=b"}, nil, nil)
	if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], "log option awslogs-entity-attributes: no effect") {
		t.Errorf("got %q", c.Warnings)
	}
}

func TestInvalidEntityOptionsAreRefused(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"entity-service-name", "{{.Nmae}}", "there is no field .Nmae"},
		{"entity-service-name", "{{.ContainerLabels.a}}", "there is no field .ContainerLabels"},
		{"awslogs-entity-service-name", "{{.LoggerHost}}", "there is no field .LoggerHost"},
		{"entity-environment", "{{.Source}}", `"{{.Source}}" uses .Source: an entity is the same for stdout and stderr, use another field`},
		{"entity-attributes", "a", `"a" is not a KEY=VALUE pair: use KEY=VALUE,KEY=VALUE`},
		{"entity-attributes", "a=", `the key "a" has no value: use 1 to 512 characters`},
		{"entity-attributes", "a=b,a=c", `has the key "a" twice: give it once`},
		{"awslogs-entity-attributes", strings.Repeat("é", 257) + "=b", `"… has 257 characters: use at most 256`},
		{"entity-attributes", "a=" + strings.Repeat("é", 513), `the value of the key "a" has 513 characters: use at most 512`},
		{"entity-attributes", "a=\xff", `the attribute "a=\xff" is not UTF-8`},
		{"entity-attributes", manyAttributes(11), `has 11 attributes: use at most 10`},
		{"entity-attributes", strings.Repeat("é", 256) + "=" + strings.Repeat("é", 512), ""},
		{"entity-attributes", manyAttributes(10), ""},
	} {
		_, err := mustLoad(t).Container(opts{test.name: test.value}, nil, nil)
		got := strings.Join(lines(t, err), "\n")
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) || got != "" && !strings.HasPrefix(got, `log option "`+test.name+`": `) {
			t.Errorf("%s=%.40s: got %s, want %s", test.name, test.value, got, test.want)
		}
	}
	for _, entry := range []string{"ENTITY_SERVICE_NAME={{", "ENTITY_ENVIRONMENT={{.Source}}", "ENTITY_ATTRIBUTES=a"} {
		s, problems := Load([]string{entry})
		if got := problemLines(t, problems); len(got) != 1 || problems[0].Applies != "none" || problems[0].Holds ||
			s.EntityService != nil || s.EntityEnvironment != nil || s.EntityAttributes != nil {
			t.Errorf("%s: %+v, %+v", entry, problems, s)
		}
	}
}
