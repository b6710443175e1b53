package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/delivery"
	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

// bed is a carbon daemon with graphite-web, through which a test reads back.
type bed struct {
	t              *testing.T
	carbon         *sdktest.Server
	plain, pickles int
	web            string
}

func newBed(t *testing.T) *bed {
	t.Helper()
	if _, err := os.Stat("/usr/share/graphite-web"); err != nil {
		sdktest.Absent(t, "graphite-web is not installed: .ci/install installs it")
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &bed{t: t, plain: sdktest.FreePort(t), pickles: sdktest.FreePort(t)}
	query, web := sdktest.FreePort(t), sdktest.FreePort(t)
	write("conf/carbon.conf", fmt.Sprintf(`[cache]
STORAGE_DIR = %[1]s/storage/
CONF_DIR = %[1]s/conf/
LOG_DIR = %[1]s/log/
PID_DIR = %[1]s/
LOCAL_DATA_DIR = %[1]s/storage/whisper/
WHITELISTS_DIR = %[1]s/storage/lists/
USER =
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = 50000
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = %[2]d
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = %[3]d
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = %[4]d
`, dir, b.plain, b.pickles, query))
	write("conf/storage-schemas.conf", "[default]\npattern = .*\nretentions = 1s:1h\n")
	write("gw/gwsettings.py", fmt.Sprintf(`from graphite.settings import *
SECRET_KEY='x'*40
ALLOWED_HOSTS=['*']; LOG_DIR='%[1]s/gwlog'; LOG_ROTATION=False
GRAPHITE_ROOT='/usr/share/graphite-web'
STORAGE_DIR='%[1]s/storage'; WHISPER_DIR=STORAGE_DIR+'/whisper'; STANDARD_DIRS=[WHISPER_DIR]; DATA_DIRS=[WHISPER_DIR]; INDEX_FILE='%[1]s/index'
CARBONLINK_HOSTS=['127.0.0.1:%[2]d']; TAGDB=None
DATABASES={'default':{'ENGINE':'django.db.backends.sqlite3','NAME':'%[1]s/graphite.db'}}
`, dir, query))
	for _, d := range []string{"gwlog", "log", "storage/whisper"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b.carbon = sdktest.NewServer(t, func() error {
		_ = os.Remove(filepath.Join(dir, "c.pid"))
		return errors.Join(sdktest.Answers(b.plain)(), sdktest.Answers(b.pickles)(), sdktest.Answers(query)())
	}, []string{"GRAPHITE_ROOT=" + dir}, "carbon-cache", "--config="+dir+"/conf/carbon.conf", "--pidfile="+dir+"/c.pid", "--nodaemon", "start")
	env := []string{"PYTHONPATH=" + filepath.Join(dir, "gw"), "DJANGO_SETTINGS_MODULE=gwsettings"}
	migrate := exec.CommandContext(t.Context(), "/usr/bin/python3", "-m", "django", "migrate", "--run-syncdb")
	migrate.Env = append(os.Environ(), env...)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.web = fmt.Sprintf("http://127.0.0.1:%d", web)
	sdktest.NewServer(t, sdktest.Answers(web), env, "/usr/bin/python3", "-m", "django", "runserver", "--noreload", fmt.Sprintf("127.0.0.1:%d", web))
	return b
}

// points are the newest values of all paths, read through graphite-web.
func (b *bed) points() (map[string]float64, error) {
	form := url.Values{"format": {"json"}, "from": {"-10min"}, "noCache": {"1"}}
	for depth := 1; depth < 8; depth++ {
		form.Add("target", "fastnetmon"+strings.Repeat(".*", depth))
	}
	return b.render(form)
}

// render asks graphite-web and returns the newest value of each series.
func (b *bed) render(form url.Values) (map[string]float64, error) {
	out := map[string]float64{}
	resp, err := http.PostForm(b.web+"/render", form)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s, %w: %.500s", resp.Status, err, text)
	}
	var series []struct {
		Target     string
		Datapoints [][2]*float64
	}
	if err := json.Unmarshal(text, &series); err != nil {
		return nil, err
	}
	for _, s := range series {
		for _, p := range s.Datapoints {
			if p[0] != nil {
				out[s.Target] = *p[0]
			}
		}
	}
	return out, nil
}

// want waits until the store has exactly these points.
func (b *bed) want(points []point) {
	b.t.Helper()
	want := map[string]float64{}
	for _, p := range points {
		want[p.path] = p.value
	}
	sdktest.Until(b.t, "every point is read back", func() error {
		got, err := b.points()
		if err != nil {
			return err
		}
		if len(got) != len(want) {
			return fmt.Errorf("%d paths, want %d", len(got), len(want))
		}
		for path, v := range want {
			if g, ok := got[path]; !ok || g != v {
				return fmt.Errorf("%s is %v (%v), want %v", path, g, ok, v)
			}
		}
		return nil
	})
}

// What is written is what graphite-web reads, in both layouts and protocols, and
// what happened while carbon was dead is there afterwards.
func TestLive(t *testing.T) {
	if testing.Short() {
		t.Skip("starts carbon and graphite-web")
	}
	at := time.Now().Add(-time.Minute).Truncate(time.Second)
	t.Run("fastnetmon, pickle", func(t *testing.T) {
		b := newBed(t)
		h := sdktest.New(t, plugin(), fmt.Sprintf("address = \"127.0.0.1:%d\"\nprotocol = %q\nlayout = %q", b.pickles, pickled, delivery.LayoutFastNetMon))
		s := sdktest.Snapshot(at, 10)
		if err := h.Export(s); err != nil {
			t.Fatal(err)
		}
		b.want(communityPoints("fastnetmon", &s))
	})
	t.Run("native, plaintext, killed", func(t *testing.T) {
		b := newBed(t)
		h := sdktest.New(t, plugin(), fmt.Sprintf("address = \"127.0.0.1:%d\"\ndelivery {\n  backoff = \"50ms\"\n  max_backoff = \"200ms\"\n}", b.plain))
		h.StateDir = t.TempDir()
		s := sdktest.Snapshot(at, 4)
		if err := h.Export(s); err != nil {
			t.Fatal(err)
		}
		points := nativePoints("fastnetmon", &s)
		b.want(points)
		b.dashboard()
		b.carbon.Kill()
		s.Time = at.Add(10 * time.Second)
		if err := h.Export(s); err != nil {
			t.Fatal(err)
		}
		var events []sdk.Event
		for n := range 20 {
			events = append(append(events, sdktest.Attack(s.Time, n)...), sdktest.Mitigated(s.Time, n)...)
		}
		if err := h.Events(events); err != nil {
			t.Fatal(err)
		}
		for i := range events {
			points = append(points, eventPoints("fastnetmon", &events[i])...)
		}
		b.carbon.Start()
		b.want(points)
	})
}
