package protocol

import (
	"maps"
	"slices"
)

// A kind is the type of a member of a request.
type kind int

const (
	aString kind = iota
	aLong
	aBoolean
	aStringList
	aStringMap
	theEvents // only in PutLogEvents
	theEntity // only in PutLogEvents
)

type members = map[string]kind

// operations are the operations of CloudWatch Logs, with the members that the service's
// model lists for each.
var operations = map[string]members{
	"PutLogEvents": {"logGroupName": aString, "logStreamName": aString, "logEvents": theEvents,
		"sequenceToken": aString, "entity": theEntity},

	"CreateLogGroup": {"logGroupName": aString, "kmsKeyId": aString, "tags": aStringMap,
		"logGroupClass": aString, "deletionProtectionEnabled": aBoolean},
	"DeleteLogGroup":        {"logGroupName": aString},
	"PutRetentionPolicy":    {"logGroupName": aString, "retentionInDays": aLong},
	"DeleteRetentionPolicy": {"logGroupName": aString},
	"TagResource":           {"resourceArn": aString, "tags": aStringMap},
	"UntagResource":         {"resourceArn": aString, "tagKeys": aStringList},
	"ListTagsForResource":   {"resourceArn": aString},
	"DescribeLogGroups": {"accountIdentifiers": aStringList, "includeLinkedAccounts": aBoolean, "limit": aLong,
		"logGroupClass": aString, "logGroupNamePattern": aString, "logGroupNamePrefix": aString, "nextToken": aString},

	"CreateLogStream": {"logGroupName": aString, "logStreamName": aString},
	"DeleteLogStream": {"logGroupName": aString, "logStreamName": aString},
	"DescribeLogStreams": {"descending": aBoolean, "limit": aLong, "logGroupIdentifier": aString, "logGroupName": aString,
		"logStreamNamePrefix": aString, "nextToken": aString, "orderBy": aString},

	"GetLogEvents": {"endTime": aLong, "limit": aLong, "logGroupIdentifier": aString, "logGroupName": aString,
		"logStreamName": aString, "nextToken": aString, "startFromHead": aBoolean, "startTime": aLong, "unmask": aBoolean},
	"FilterLogEvents": {"endTime": aLong, "filterPattern": aString, "interleaved": aBoolean, "limit": aLong,
		"logGroupIdentifier": aString, "logGroupName": aString, "logStreamNamePrefix": aString, "logStreamNames": aStringList,
		"nextToken": aString, "startFromHead": aBoolean, "startTime": aLong, "unmask": aBoolean},
}

// Operations lists the operations of CloudWatch Logs that the stand-in knows, in no order.
func Operations() []string { return slices.Collect(maps.Keys(operations)) }
