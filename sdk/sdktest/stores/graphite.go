package stores

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fastnetmon-go/fastnetmon/sdk/sdktest"
)

const carbonConfig = `[cache]
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
`

const graphiteSettings = `from graphite.settings import *
SECRET_KEY='x'*40
ALLOWED_HOSTS=['*']; LOG_DIR='%[1]s/gwlog'; LOG_ROTATION=False
GRAPHITE_ROOT='/usr/share/graphite-web'
STORAGE_DIR='%[1]s/storage'; WHISPER_DIR=STORAGE_DIR+'/whisper'; STANDARD_DIRS=[WHISPER_DIR]; DATA_DIRS=[WHISPER_DIR]; INDEX_FILE='%[1]s/index'
CARBONLINK_HOSTS=['127.0.0.1:%[2]d']; TAGDB=None
DATABASES={'default':{'ENGINE':'django.db.backends.sqlite3','NAME':'%[1]s/graphite.db'}}
`

// Graphite is a carbon daemon, the Server, with graphite-web; it keeps an hour
// by the second.
type Graphite struct {
	*sdktest.Server
	Plain, Pickle int // ports of carbon's protocols
	web           string
}

// NewGraphite starts both.
func NewGraphite(t testing.TB) *Graphite {
	t.Helper()
	if _, err := os.Stat("/usr/share/graphite-web"); err != nil {
		sdktest.Absent(t, "graphite-web is not installed: .ci/install installs it")
	}
	dir := t.TempDir()
	g := &Graphite{Plain: sdktest.FreePort(t), Pickle: sdktest.FreePort(t)}
	query, web := sdktest.FreePort(t), sdktest.FreePort(t)
	write(t, filepath.Join(dir, "conf/carbon.conf"), fmt.Sprintf(carbonConfig, dir, g.Plain, g.Pickle, query))
	write(t, filepath.Join(dir, "conf/storage-schemas.conf"), "[default]\npattern = .*\nretentions = 1s:1h\n")
	write(t, filepath.Join(dir, "gw/gwsettings.py"), fmt.Sprintf(graphiteSettings, dir, query))
	for _, d := range []string{"gwlog", "log", "storage/whisper"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	g.Server = sdktest.NewServer(t, func() error {
		_ = os.Remove(filepath.Join(dir, "c.pid"))
		return errors.Join(sdktest.Answers(g.Plain)(), sdktest.Answers(g.Pickle)(), sdktest.Answers(query)())
	}, []string{"GRAPHITE_ROOT=" + dir}, "carbon-cache", "--config="+dir+"/conf/carbon.conf", "--pidfile="+dir+"/c.pid", "--nodaemon", "start")
	env := []string{"PYTHONPATH=" + filepath.Join(dir, "gw"), "DJANGO_SETTINGS_MODULE=gwsettings"}
	migrate := exec.CommandContext(t.Context(), "/usr/bin/python3", "-m", "django", "migrate", "--run-syncdb")
	migrate.Env = append(os.Environ(), env...)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	g.web = fmt.Sprintf("http://127.0.0.1:%d", web)
	sdktest.NewServer(t, sdktest.Answers(web), env, "/usr/bin/python3", "-m", "django", "runserver", "--noreload", fmt.Sprintf("127.0.0.1:%d", web))
	return g
}

// Point is a value at a second.
type Point struct {
	Value float64
	At    int64 // Unix seconds
}

// Render asks graphite-web for the last ten minutes of targets and returns the
// points of each series, the oldest first.
func (g *Graphite) Render(targets ...string) (map[string][]Point, error) {
	text, err := post(context.Background(), g.web+"/render", url.Values{"format": {"json"}, "from": {"-10min"}, "noCache": {"1"}, "target": targets})
	if err != nil {
		return nil, err
	}
	var series []struct {
		Target     string
		Datapoints [][2]*float64
	}
	if err := json.Unmarshal([]byte(text), &series); err != nil {
		return nil, err
	}
	out := map[string][]Point{}
	for _, s := range series {
		for _, p := range s.Datapoints {
			if p[0] != nil && p[1] != nil {
				out[s.Target] = append(out[s.Target], Point{*p[0], int64(*p[1])})
			}
		}
	}
	return out, nil
}
