#include <fmt/format.h>
#include <sys/stat.h>

#include "cli/command.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"

namespace ripcord::cli {
namespace {

struct Template {
  const char* path;
  unsigned mode;
  const char* text;
};

constexpr Template kFiles[] = {
    {"fleet.yaml", 0644,
     R"(# Which hosts there are, and how to reach them. This fleet is local: each host is a folder below hosts/, with real
# processes, so that everything can be tried on one machine. For servers: take out `link: local`, and give addresses
# (`web-[01:20]: {address: "10.0.0.[1:20]"}`) or names that ssh knows.
fleet: demo
link: local
datacenters:
  ams:
    hosts:
      - web-[01:02]
  fra:
    hosts:
      - web-03
)"},
    {"hello/unit.yaml", 0644, R"(# A unit: code and configuration that are released, and taken back, as one thing.
unit: hello
version: "1.0"        # change something, say 1.1 here, and `ripcord apply hello/` rolls it out
hosts: all            # which hosts carry it: all, datacenter=ams, role=web, ...
code: code            # becomes the release's folder on the hosts
config: config        # becomes config/ in it: common first, then what is for the datacenter, the role, the host
persist:
  - data              # survives releases
services:
  - name: hello
    run: [bin/hello]  # started by ripcord in its own session; it writes to its log
    stop_deadline: 5s
health:               # all must pass for min_healthy_time, or the host goes back by itself
  checks:
    - command: [bin/check]
  min_healthy_time: 1s
  healthy_deadline: 20s
  interval: 200ms
)"},
    {"hello/code/bin/hello", 0755, R"(#!/bin/sh
# A service that needs nothing but a shell: it says hello, and notes that it lives.
. ./config/hello.conf
echo "$greeting, this is $RIPCORD_UNIT $RIPCORD_VERSION on $RIPCORD_HOST"
while :; do
  echo "$RIPCORD_VERSION" > data/alive
  sleep 1
done
)"},
    {"hello/code/bin/check", 0755, R"(#!/bin/sh
# Healthy: the service that lives is the one of this release.
read -r alive < data/alive || exit 1
echo "alive: $alive"
[ "$alive" = "$RIPCORD_VERSION" ]
)"},
    {"hello/config/common/hello.conf.tmpl", 0644, R"(# A template: rendered on each host from the labels in the fleet file.
greeting="Hello from ${datacenter}"
)"},
    {"hello/config/datacenter/fra/hello.conf.tmpl", 0644, R"(# Replaces the common one in this datacenter.
greeting="Hallo aus ${datacenter}"
)"},
    {"plans/hello.yaml", 0644,
     R"(# How releases of hello go through the fleet. Without this file the ladder is used: one host, one host in each datacenter,
# one whole datacenter, everyone.
unit: hello
stages:
  - name: canary
    hosts: 1
    bake: 3s          # keeps checking health this long before the next stage
  - name: everyone
    hosts: rest
    max_parallel: 10
max_failures: 1       # one failed host, and every host that was touched goes back
max_unreachable: 5%
)"},
    {".gitignore", 0644, R"(# What ripcord keeps by itself: ledger, sealed releases, local hosts.
/.ripcord/
/hosts/
)"},
};

class Init : public Command {
 public:
  void declare(Arguments& a) override { a.positional("FOLDER", folder_, "where (else here)"); }

  Exit run(Context& c) override {
    auto folder = folder_.value_or(".");
    while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
    auto at = [&](const char* path) { return folder == "." ? std::string(path) : folder + "/" + path; };
    std::vector<std::string> there;
    for (const auto& f : kFiles)
      if (exists(at(f.path))) there.push_back(at(f.path));
    if (!there.empty())
      throw Error(
          fmt::format("nothing is overwritten, and {} there already: {}", there.size() == 1 ? "this is" : "these are", join(there, ", ")),
          "name another folder: `ripcord init FOLDER`", Exit::refused);
    json::array made;
    for (const auto& f : kFiles) {
      make_dirs(parent_dir(absolute_path(at(f.path))), 0755);
      write_file_durable(at(f.path), f.text, f.mode);
      if (::chmod(at(f.path).c_str(), f.mode) != 0) throw os_error("set the mode of", at(f.path), errno);
      made.push_back(json::value(at(f.path)));
    }
    auto& out = c.out();
    if (!out.text()) {
      out.print_json(json::object{{"created", std::move(made)}});
      return Exit::done;
    }
    for (const auto& path : made) out.print(escape_terminal("created  " + std::string(path.as_string())));
    if (folder != ".") out.note("next: cd " + shell_quote(folder));
    out.note(std::string(folder == "." ? "next: " : "      ") + "ripcord validate");
    out.note("      ripcord apply hello/     (seals it and rolls it out)\n      ripcord status");
    return Exit::done;
  }

 private:
  std::optional<std::string> folder_;
};

}  // namespace

std::unique_ptr<Command> make_init() { return std::make_unique<Init>(); }

}  // namespace ripcord::cli
