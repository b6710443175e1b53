// Command kafka is a Kafka broker for tests, in memory: kfake of franz-go.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	port := flag.Int("port", 19092, "on 127.0.0.1")
	dir := flag.String("dir", "", "what is produced outlives the process here")
	user := flag.String("user", "", "asks for this user, by SCRAM-SHA-256")
	password := flag.String("password", "", "of user")
	cert := flag.String("cert", "", "certificate for TLS, PEM")
	key := flag.String("key", "", "its key, PEM")
	topics := flag.String("topics", "fastnetmon-events,fastnetmon-snapshots,fastnetmon-records", "that there are, with two partitions each")
	forget := flag.Bool("forget", false, "takes what is produced and keeps none of it")
	flag.Parse()
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.Ports(*port), kfake.SeedTopics(2, strings.Split(*topics, ",")...)}
	if *user != "" {
		opts = append(opts, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", *user, *password))
	}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		opts = append(opts, kfake.TLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}))
	}
	if *forget {
		opts = append(opts, kfake.BlackholeProduce())
	}
	if *dir != "" {
		opts = append(opts, kfake.DataDir(*dir), kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	cluster.Close()
}
