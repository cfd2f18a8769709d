// A host in a folder, and releases made in memory, for the tests of the host program.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "manifests/host/history.hpp"
#include "manifests/host/host_context.hpp"
#include "manifests/host/stage.hpp"
#include "manifests/shared/manifest.hpp"
#include "tests/support/temp_dir.hpp"

namespace ripcord::test {

// unit.yaml is left out: the host program reads the spec from the manifest alone.
struct TestRelease {
  Manifest manifest;
  std::map<Digest, std::string> objects;

  explicit TestRelease(const std::string& version, const std::string& unit = "storefront");
  TestRelease& file(const std::string& path, const std::string& bytes, unsigned mode = 0644);  // "code/bin/server"
  TestRelease& link(const std::string& path, const std::string& target);
  TestRelease& dir(const std::string& path, unsigned mode = 0755);
  std::string bytes() const { return manifest.encode(); }
  Digest digest() const { return sha256(bytes()); }
  std::string pack(const std::vector<Digest>& which) const;
  std::string pack_all() const;

 private:
  TestRelease& add(SourceEntry entry);
};

struct TestHost {
  TestHost();
  TempDir dir;
  HostContext host;                 // --root of `dir`, in this process
  Labels labels{{"host", "web-01"}, {"datacenter", "ams"}, {"role", "web"}, {"fleet", "test"}, {"address", "127.0.0.1"}};
  std::vector<std::string> events;

  UnitRef ref(const std::string& unit = "storefront") const { return {unit, "/srv"}; }
  UnitLayout unit(const std::string& name = "storefront") const { return host.layout.unit(ref(name)); }
  StageOffer offer(const TestRelease& release) const;
  StageReply offered(const TestRelease& release);
  StageReply stage(const TestRelease& release);           // offer, then a pack of what is lacking
  StageReply stage_with(const TestRelease& release, const std::string& pack);
  UnitHistory history(const std::string& name = "storefront") const;
  std::vector<std::string> kinds(const std::string& name = "storefront") const;  // of the journal's records
  void point_current(const ReleaseId& release, const std::string& name = "storefront") const;
};

std::string text_of(const std::string& path);
void put(const std::string& path, const std::string& text);
unsigned mode_of(const std::string& path);
std::vector<std::string> names_in(const std::string& folder);   // sorted, with dot files
std::string files_state(const std::string& folder);             // of everything below it that a write would change; access times left out
// The code of the HostFailure that `what` throws, and its message; "" when it throws none.
struct Refused {
  std::string code, message;
};
Refused refusal(const std::function<void()>& what);

}  // namespace ripcord::test
