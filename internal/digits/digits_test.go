package digits

import "testing"

func TestSeparate(t *testing.T) {
	for number, want := range map[string]string{
		"0": "0", "999": "999", "1000": "1,000", "123456": "123,456", "1234567": "1,234,567",
		"-1": "-1", "-123": "-123", "-1234": "-1,234", "-123456": "-123,456",
		"0.12345": "0.12345", "1234.5678": "1,234.5678", "-1234.5": "-1,234.5",
	} {
		if got := Separate(number); got != want {
			t.Errorf("%s: got %s, want %s", number, got, want)
		}
	}
}
