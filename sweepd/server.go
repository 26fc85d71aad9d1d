package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
)

const (
	clusterName = "active"
	// namespace is the one that clients use when they are not told of another.
	namespace = "default"
	loopback  = "127.0.0.1"
)

// newServer returns a server that is not yet started, and the address where it will be.
func newServer(db, listen string, verbose bool) (temporal.Server, string, error) {
	ip, port, err := address(listen)
	if err != nil {
		return nil, "", err
	}
	ports, err := freePorts(4)
	if err != nil {
		return nil, "", err
	}
	if port != 0 {
		ports[0] = port
	}
	sql := storage(db)
	if err := prepare(db, sql); err != nil {
		return nil, "", err
	}
	c := configuration(sql, ip, ports)
	logger := log.Logger(log.NewNoopLogger())
	if verbose {
		logger = log.NewZapLogger(log.BuildZapLogger(log.Config{Level: "info"}))
	}
	hosts := make(map[primitives.ServiceName]static.Hosts)
	for i, service := range services {
		hosts[service] = static.SingleLocalHost(net.JoinHostPort(reach(service, ip), strconv.Itoa(ports[i])))
	}
	server, err := temporal.NewServer(
		temporal.WithConfig(c),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts), // no gossip, and no ports for it
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
		temporal.WithDynamicConfigClient(tuning()),
	)
	return server, hosts[primitives.FrontendService].Self, err
}

// services are those of a server, the frontend first. The others serve it alone.
var services = []primitives.ServiceName{
	primitives.FrontendService, primitives.HistoryService, primitives.MatchingService, primitives.WorkerService,
}

// reach returns the address by which a service is reached from here: the frontend's own, unless it
// is every address that there is.
func reach(service primitives.ServiceName, ip net.IP) string {
	if service != primitives.FrontendService || ip.IsUnspecified() {
		return loopback
	}
	return ip.String()
}

// configuration returns that of a server of one process. Metrics and pprof, which are not asked
// for, have no port.
func configuration(sql *config.SQL, ip net.IP, ports []int) *config.Config {
	frontend := net.JoinHostPort(reach(primitives.FrontendService, ip), strconv.Itoa(ports[0]))
	c := &config.Config{
		Persistence: config.Persistence{
			DefaultStore:     sqliteplugin.PluginName,
			VisibilityStore:  sqliteplugin.PluginName,
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{sqliteplugin.PluginName: {SQL: sql}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            make(map[string]config.Service),
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		PublicClient: config.PublicClient{HostPort: frontend},
	}
	c.Global.Membership = config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback}
	for i, service := range services {
		on := loopback
		if service == primitives.FrontendService {
			on = ip.String()
		}
		c.Services[string(service)] = config.Service{RPC: config.RPC{GRPCPort: ports[i], BindOnIP: on}}
	}
	return c
}

// storage returns where the state is kept. A write-ahead log that is synced at checkpoints
// survives a kill at any time; a loss of power may cost the last seconds, which are then run again. It is two to
// seven times as fast as what SQLite does by itself.
func storage(db string) *config.SQL {
	return &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: db,
		ConnectAttributes: map[string]string{
			"mode": "rwc", "journal_mode": "WAL", "synchronous": "NORMAL", "busy_timeout": "10000",
		},
	}
}

// prepare makes the tables of a file that is new, and the namespace. Tables are made under
// another name first, so that a file under its own always has all of them.
func prepare(db string, sql *config.SQL) error {
	if err := os.MkdirAll(filepath.Dir(db), 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(db); errors.Is(err, fs.ErrNotExist) {
		fresh := *sql
		fresh.DatabaseName = db + ".new"
		fresh.ConnectAttributes = map[string]string{"mode": "rwc"}
		if err := errors.Join(remove(fresh.DatabaseName), sqlite.SetupSchema(&fresh), os.Rename(fresh.DatabaseName, db)); err != nil {
			return fmt.Errorf("cannot make %s: %w", db, err)
		}
	}
	n, err := sqlite.NewNamespaceConfig(clusterName, namespace, false, nil)
	if err != nil {
		return err
	}
	if err := sqlite.CreateNamespaces(sql, n); err != nil {
		return fmt.Errorf("cannot use %s: %w; remove it to begin anew (finished results are kept elsewhere)", db, err)
	}
	return nil
}

// remove removes a file that may not be there.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tuning returns settings for one SQLite file: one partition a task queue, since more partitions
// only make more pollers of the same file.
func tuning() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
	}
}

// address splits HOST:PORT.
func address(listen string) (net.IP, int, error) {
	a, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return nil, 0, badInput{fmt.Errorf("--listen %s: %w; want HOST:PORT, such as 127.0.0.1:7233", listen, err)}
	}
	if a.IP == nil { // ":7233" would be every address; that has to be said
		a.IP = net.ParseIP(loopback)
	}
	return a.IP, a.Port, nil
}

// freePorts returns ports of the loopback address that were free just now.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
		if err != nil {
			return nil, err
		}
		defer l.Close() // together at the end, so that no port comes twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
