// fleet.yaml: which hosts there are, how to reach them, where ledger and store are (docs/files.md). Executable inventories
// print the same as JSON.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/net/link.hpp"
#include "manifests/shared/unit_spec.hpp"
#include "plans/files/selector.hpp"

namespace ripcord {

struct Host {
  std::string name, datacenter;
  Labels labels;          // complete: own, datacenter's, fleet's, and host, datacenter, fleet, address
  HostAddress address;
  int line = 0;           // in the fleet file
};

struct SshDefaults {
  std::string user, identity, known_hosts, config, become;  // paths absolute or beside the fleet file (already resolved)
  int port = 0;
  LinkTimeouts timeouts;
  Millis heartbeat{2000};      // how often hosts say that they are alive while a session is open
  int max_handshakes = 8;      // unauthenticated handshakes to one address at once
  int max_sessions = 64;       // sessions being opened at once, in all
};

struct Fleet {
  enum class LinkKind { ssh, local };
  std::string name, file, folder;  // folder: where the file is; relative paths start there
  bool is_protected = false;
  LinkKind link = LinkKind::ssh;
  std::string ledger, store;       // resolved; default <folder>/.ripcord/ledger.db and <folder>/.ripcord/store
  std::string local_dir;           // local fleets: a folder a host
  SshDefaults ssh;
  std::string drift_persist = "1 of 1";  // a finding alerts when it was there in k of the last n scans
  std::vector<std::string> datacenters;  // in file order
  std::vector<Host> hosts;               // in file order, ranges expanded

  const Host* find(const std::string& name) const;
  std::vector<const Host*> select(const Selector& selector) const;
};

// "web-[01:20]" -> web-01 .. web-20; "[a,b]-[1:3]" works too. At most 100,000 names. Error on a malformed range.
std::vector<std::string> expand_range(const std::string& pattern);

// Error(Exit::invalid_file) with every mistake. An executable file is run (10 s deadline) and its output decoded.
Fleet load_fleet(const std::string& path);
Fleet decode_fleet(const std::string& path, std::string text);

}  // namespace ripcord
