// adopt: hosts whose unit belongs to another ledger are given into this one's hands. Recorded here and in each host's journal.
#include <fmt/format.h>

#include <set>

#include "cli/command.hpp"
#include "cli/confirm.hpp"
#include "cli/halted.hpp"

#include "cli/look.hpp"
#include "cli/target.hpp"
#include "cli/unit_hold.hpp"
#include "cli/view/words.hpp"
#include "manifests/shared/ledger_name.hpp"

namespace ripcord::cli {
namespace {

struct Adopted {
  std::string host, was, fault;
};

Task<> adopt_one(HostPorts& ports, json::object request, Adopted& line) {
  try {
    json::object reply = co_await ports.port(line.host).ask(std::move(request), Millis(60000));
    line.was = get_string_or(reply, "was", line.was);
  } catch (const Error& e) {
    line.fault = e.what();
  }
}

Task<> adopt_all(Loop& loop, HostPorts& ports, const json::object& request, std::vector<Adopted>& lines) {
  TaskGroup group(loop);
  for (auto& line : lines) {
    json::object copy = request;
    group.spawn(adopt_one(ports, std::move(copy), line));
  }
  co_await group.join();
}

class Adopt : public Command {
 public:
  void declare(Arguments& a) override {
    a.positional("UNIT", unit_, "the unit");
    a.positionals("HOST", hosts_, "only these; else every host of the fleet that another ledger has");
    a.value("-m,--message", why_, "WHY", "the reason; required");
    confirmation_.declare(a, true);
  }

  Exit run(Context& c) override {
    if (trim(why_).empty()) throw Error("adopt needs a reason", "add -m 'why this ledger and not the other'; it goes into the ledger", Exit::usage);
    std::vector<const Host*> hosts;
    for (const auto& name : hosts_) {
      const auto* h = c.fleet().find(name);
      if (!h) throw Error(fmt::format("host '{}' is not in the fleet file", escape_terminal(name)), {}, Exit::refused);
      hosts.push_back(h);
    }
    if (hosts.empty())
      for (const auto& h : c.fleet().hosts) hosts.push_back(&h);
    refuse_open_rollouts(c, unit_, hosts);
    auto looks = look_for_unit(c, hosts, unit_, Verify::none, false);
    refuse_unknown_unit(c, unit_, looks);

    std::vector<Adopted> lines;
    std::set<std::string> from;
    std::vector<std::string> silent;
    std::int64_t epoch = 0;
    std::string root = "/srv";
    if (auto versions = c.store().versions(unit_); !versions.empty()) root = load_release(c.store(), versions.back().second).manifest.spec.root;
    for (const auto& l : looks) {
      if (!l.look) {
        silent.push_back(l.host->name);
        continue;
      }
      epoch = std::max(epoch, l.look->unit.epoch);
      const auto& ledger = l.look->unit.ledger_id;
      if (ledger.empty() || ledger == c.ledger().id()) continue;
      from.insert(ledger);
      lines.push_back({l.host->name, ledger, ""});
    }
    if (lines.empty()) {
      c.out().print(escape_terminal(fmt::format("nothing to adopt: no host that answers has unit '{}' from another ledger", unit_)));
      return silent.empty() ? Exit::done : Exit::unreachable;
    }
    std::vector<std::string> words, names;
    for (const auto& id : from) words.push_back(ledger_text(id));
    for (const auto& l : lines) names.push_back(l.host);
    confirm(c, confirmation_, fmt::format("take unit '{}' on {} from {}? Whoever deploys from there is fenced off", unit_,
                                          count_of(lines.size(), "host"), escape_terminal(join(words, ", "))), true);

    UnitHold hold(c, unit_, "adopt", why_, epoch);
    std::vector<json::object> bodies;
    bodies.push_back({{"kind", "unit.adopted"}, {"unit", unit_}, {"hosts", to_json_array(names)}, {"from", to_json_array({from.begin(), from.end()})},
                      {"epoch", hold.lease().epoch}, {"why", why_}});
    c.append(std::move(bodies));
    json::object request{{"do", "adopt"}, {"unit", unit_}, {"root", root}, {"epoch", hold.lease().epoch}, {"holder", hold.lease().holder},
                         {"ledger_id", c.ledger().id()}, {"who", c.who()}, {"why", why_}};
    hold.run(adopt_all(c.loop(), c.ports(), request, lines));
    return report(c, lines, silent);
  }

 private:
  Exit report(Context& c, const std::vector<Adopted>& lines, const std::vector<std::string>& silent) {
    auto& out = c.out();
    Exit exit = silent.empty() ? Exit::done : Exit::unreachable;
    json::array items;
    std::vector<std::string> done;
    for (const auto& l : lines) {
      items.push_back(json::object{{"host", l.host}, {"from", l.was}, {"adopted", l.fault.empty()}, {"what", l.fault}});
      if (l.fault.empty()) done.push_back(l.host);
      else exit = worst(exit, Exit::unreachable), c.out().warn(fmt::format("{} was not adopted: {}", l.host, l.fault));
    }
    if (!silent.empty()) c.out().warn("did not answer, and is not adopted: " + compress_hosts(silent));
    if (!out.text()) out.print_list("hosts", items);
    else out.print(escape_terminal(fmt::format("unit '{}' belongs to this ledger now on {}", unit_, done.empty() ? "no host" : compress_hosts(done))));
    return exit;
  }

  std::string unit_, why_;
  std::vector<std::string> hosts_;
  Confirmation confirmation_;
};

}  // namespace

std::unique_ptr<Command> make_adopt() { return std::make_unique<Adopt>(); }

}  // namespace ripcord::cli
