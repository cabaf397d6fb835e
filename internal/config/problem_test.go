package config

import "testing"

// A container is held only if an invalid setting leaves undecided where its lines go, as whom or
// with which key, and its own log options do not decide it.
func TestContainerIsHeldIfItsDestinationIsUndecided(t *testing.T) {
	own := opts{"region": "eu-west-1"}
	for _, test := range []struct {
		plugin []string
		opts   opts
		env    []string
		want   string
	}{
		{nil, nil, nil, ""},
		// A setting with a harmless default holds no container.
		{[]string{"DELAY=x", "GZIP=x", "LOGSPOUT_GROUP={{", "LOGSPOUT_STREAM={{", "SPOOL_MAX_SIZE=x", "SPOOL_TOTAL_SIZE=x", "SPOOL_FULL=x",
			"SPOOL_SYNC=x", "HISTORY_SIZE=x", "HISTORY_AGE=x", "RETENTION_DAYS=x", "GROUP_TAGS=x", "GROUP_CLASS=x", "STATE_DIR=x",
			"ROUTE=cloudwatch://auto?DELAY=x&delya=8&DEBUG&DEBUG"}, nil, nil, ""},

		{[]string{"AWS_REGION=x"}, nil, nil, "AWS_REGION is invalid"},
		{[]string{"AWS_REGION=x"}, own, nil, ""},
		{[]string{"AWS_REGION=x"}, opts{"region": "auto"}, nil, "AWS_REGION is invalid"},
		{[]string{"AWS_REGION=x", "AWS_DEFAULT_REGION=eu-west-1"}, nil, nil, "AWS_REGION is invalid"},
		{[]string{"AWS_REGION=x", "ROUTE=cloudwatch://eu-west-1"}, nil, nil, ""},
		{[]string{"AWS_REGION=x", "ROUTE=cloudwatch://eu-west-1"}, opts{"awslogs-region": "auto"}, nil, "AWS_REGION is invalid"},
		{[]string{"AWS_DEFAULT_REGION=x"}, nil, nil, "AWS_DEFAULT_REGION is invalid"},
		{[]string{"AWS_DEFAULT_REGION=x", "AWS_REGION=auto"}, nil, nil, "AWS_DEFAULT_REGION is invalid"},
		{[]string{"AWS_DEFAULT_REGION=x", "AWS_REGION=eu-west-1"}, nil, nil, ""},
		{[]string{"AWS_DEFAULT_REGION=x", "AWS_REGION=eu-west-1"}, opts{"region": "auto"}, nil, ""},

		{[]string{"ROUTE=cloudwatch://x", "AWS_REGION=eu-west-1"}, nil, nil, "ROUTE is invalid"},
		{[]string{"ROUTE=eu-west-1", "AWS_REGION=eu-west-1"}, nil, nil, "ROUTE is invalid"},
		{[]string{"ROUTE=cloudwatch://x"}, own, nil, ""},
		{[]string{"ROUTE=cloudwatch://x"}, opts{"region": "auto"}, nil, ""}, // which is whatever ROUTE says
		// An unknown option of ROUTE may be meant to say which lines go where.
		{[]string{"ROUTE=cloudwatch://eu-west-1?filter.name=*_db"}, own, nil, "ROUTE is invalid"},

		{[]string{"KMS_KEY_ID=a key"}, nil, nil, "KMS_KEY_ID is invalid"},
		{[]string{"KMS_KEY_ID=a key"}, own, nil, "KMS_KEY_ID is invalid"},
		{[]string{"KMS_KEY_ID=a key"}, opts{"kms-key-id": "arn:aws:kms:eu-west-1:123456789012:key/1"}, nil, ""},
		{[]string{"KMS_KEY_ID=a key"}, opts{"create-group": "false"}, nil, ""},

		{[]string{"CONTAINER_ENV=offf"}, nil, []string{"HOSTNAME=x", "LOGSPOUT= ", "LOGSPOUT_GROUP="}, ""},
		{[]string{"CONTAINER_ENV=offf"}, nil, []string{"LOGSPOUT=ignore"}, "CONTAINER_ENV is invalid"},
		{[]string{"CONTAINER_ENV=offf"}, nil, []string{"LOGSPOUT_GROUP=g"}, "CONTAINER_ENV is invalid"},
		{[]string{"CONTAINER_ENV=offf"}, nil, []string{"LOGSPOUT_STREAM=s"}, "CONTAINER_ENV is invalid"},
		{[]string{"CONTAINER_ENV=offf"}, opts{"group": "g", "tag": "t"}, []string{"LOGSPOUT_GROUP=x", "LOGSPOUT_STREAM=s"}, ""},
		{[]string{"CONTAINER_ENV=offf"}, opts{"group": "g", "tag": "t"}, []string{"LOGSPOUT=Ignore"}, "CONTAINER_ENV is invalid"},

		// The options became invalid after the container was attached.
		{nil, opts{"region": "x"}, nil, `log option "region" is invalid`},
		{nil, opts{"awslogs-endpoint": "ftp://x"}, nil, `log option "awslogs-endpoint" is invalid`},
		{nil, opts{"endpoint": "http://x", "awslogs-endpoint": "http://y"}, nil, `log option "endpoint" is invalid`},
		{nil, opts{"role-arn": "x"}, nil, `log option "role-arn" is invalid`},
		{nil, opts{"role-arn": "arn:aws:iam::123456789012:role/x", "external-id": "?"}, nil, `log option "external-id" is invalid`},
		{nil, opts{"credentials-endpoint": "x"}, nil, `log option "credentials-endpoint" is invalid`},
		{nil, opts{"kms-key-id": "a key"}, nil, `log option "kms-key-id" is invalid`},
		{nil, opts{"delay": "x", "group": "{{", "format": "x", "grup": "x"}, nil, ""},
	} {
		s, problems := Load(test.plugin)
		holds := false
		for _, p := range problems {
			holds = holds || p.Holds
		}
		c, _ := s.Container(test.opts, test.env, nil)
		if c.Hold != test.want {
			t.Errorf("%q, %v, %q: hold %q, want %q", test.plugin, test.opts, test.env, c.Hold, test.want)
		}
		if c.Hold != "" && test.plugin != nil && !holds {
			t.Errorf("%q: no problem says that it holds: %+v", test.plugin, problems)
		}
		if c.Ignore && test.plugin != nil {
			t.Errorf("%q: the container is ignored", test.plugin)
		}
	}
}

// Error returns the whole problem in one line.
func (p Problem) Error() string {
	return p.Setting + ": " + p.Text + "; until it is fixed: " + p.Applies
}
