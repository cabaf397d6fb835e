//go:build e2e

package statuspage

import (
	"bytes"
	"flag"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/logspool/logspool/internal/status"
)

var write = flag.Bool("write", false, "write the screenshots of the documentation")

// maxScreenshot is how large a screenshot in the documentation may be, in bytes.
const maxScreenshot = 150_000

// TestBrowserTakesScreenshots: the screenshots of the documentation can be made, and are small.
// With -write, it writes them.
func TestBrowserTakesScreenshots(t *testing.T) {
	for name, c := range map[string]struct {
		report  *status.Report
		prepare func(tab)
		take    chromedp.Action[[]byte]
	}{
		"status.png": {troubledReport(), func(b tab) { b.viewport(1280, 900) }, chromedp.FullScreenshot(100)},
		"status-dark-phone.png": {healthyReport(), func(b tab) {
			b.phone()
			b.colours("dark")
		}, chromedp.CaptureScreenshot()},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTab(t)
			s := serve(b, c.report, Options{Refresh: time.Hour})
			c.prepare(b)
			b.open(s.URL)
			shot, err := chromedp.Run(b.ctx, c.take)
			if err != nil {
				t.Fatal(err)
			}
			small := palette(t, shot)
			if len(small) > maxScreenshot {
				t.Errorf("the screenshot has %d bytes", len(small))
			}
			if !*write {
				return
			}
			if err := os.WriteFile(filepath.Join("../../docs/images", name), small, 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// palette returns a PNG with the 256 most frequent colours of another one, which is much smaller.
func palette(t *testing.T, data []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	bounds := full.Bounds()
	count := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(full.At(x, y)).(color.RGBA) }
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	colours := make([]color.Color, 0, len(count))
	for c := range count {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.Color) int { return count[b.(color.RGBA)] - count[a.(color.RGBA)] })
	few := image.NewPaletted(bounds, colours[:min(256, len(colours))])
	index := map[color.RGBA]uint8{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := at(x, y)
			i, ok := index[c]
			if !ok {
				i = uint8(few.Palette.Index(c))
				index[c] = i
			}
			few.SetColorIndex(x, y, i)
		}
	}
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&b, few); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
