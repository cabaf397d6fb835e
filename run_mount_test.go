package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// With an empty or relative source, the mount is the plugin's own directory, which holds its
// settings.
func TestPluginsOwnDirectoryIsNotTakenForAWSFiles(t *testing.T) {
	for text, want := range map[string]bool{
		`{"ociVersion":"1.0.2","process":{"env":["AWS_SECRET_ACCESS_KEY=secret"]}}`: true,
		`{"auths":{}}`: false,
		"":             false,
	} {
		dir := t.TempDir()
		if text != "" {
			if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		checkAWSMount(slog.New(slog.NewTextHandler(&b, nil)), dir)
		if logged := strings.Contains(b.String(), "aws.source=/sys/module"); logged != want || strings.Contains(b.String(), "=secret") {
			t.Errorf("%s: logged %s", text, &b)
		}
	}
}
