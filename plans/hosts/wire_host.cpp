#include "plans/hosts/wire_host.hpp"

#include <fmt/format.h>

#include <type_traits>
#include <unordered_map>

#include "plans/hosts/wire_session.hpp"

namespace ripcord {
namespace {

json::object with_unit(json::object request, const UnitRef& unit) {
  for (auto& [key, value] : to_json(unit)) request[key] = value;
  return request;
}

HealthReport health_report_from_json(const json::object& reply) {
  HealthReport report;
  report.healthy = get_bool(reply, "healthy");
  report.detail = get_string_or(reply, "detail", "");
  report.failed_step = get_string_or(reply, "failed_step", "");
  report.output = get_string_or(reply, "output", "");
  report.log_tail = get_string_or(reply, "log_tail", "");
  return report;
}

class WireHost : public HostPort {
 public:
  // Without a host: one that is not in the fleet file any more. A rollout that took it goes on without it.
  WireHost(Loop& loop, Clock& clock, Link& link, const Host* host, std::string name, Millis beat)
      : loop_(loop), clock_(clock), link_(link), host_(host), name_(std::move(name)), beat_(beat) {}

  Task<Look> look(UnitRef unit, Verify verify, bool check_process) override {
    json::object request = with_unit({{"do", "observe"}}, unit);
    request["verify"] = to_text(verify);
    request["process"] = check_process;
    co_return co_await look_by(std::move(request), verify == Verify::full ? Millis(600000) : Millis(60000));
  }

  Task<StageReply> stage_offer(StageOffer offer) override {
    json::object request = to_json(offer);
    request["do"] = "stage_offer";
    WireReply reply = co_await call(std::move(request), Millis(60000));
    co_return read<&stage_reply_from_json>(reply);
  }

  Task<StageReply> stage_pack(UnitRef unit, Pack pack) override {
    if (!session_ || session_->broken())
      throw LinkError(LinkFault::unreachable, "closed", fmt::format("host '{}': the session was lost before the pack was sent", name_));
    json::object request = with_unit({{"do", "stage_pack"}}, unit);
    co_await session_->send(std::move(request));
    co_await session_->send_data(pack.bytes, pack.owner);
    // 1 MiB/s is the slowest disk we wait for
    WireSession::Expect expect{clock_.elapsed() + Millis(120000 + static_cast<std::int64_t>(pack.bytes.size() / 1024)), false, {}};
    WireReply reply = co_await session_->reply(std::move(expect));
    co_return read<&stage_reply_from_json>(reply);
  }

  Task<ActivateReply> activate(ActivateRequest activate_request, Millis within, std::function<void(std::string)> on_step) override {
    json::object request = to_json(activate_request);
    request["do"] = "activate";
    fresh_.reset();
    bool forward = activate_request.forward && activate_request.confirm_within_ms > 0;  // else nobody will confirm it
    std::function<void(std::string)> on_event = [this, forward, on_step = std::move(on_step)](std::string step) {
      if (step == "restarted" && forward) open_fresh();
      if (on_step) on_step(step);
    };
    WireReply reply = co_await call(std::move(request), within, std::move(on_event));
    co_return read<&activate_reply_from_json>(reply);
  }

  Task<ActivateReply> finish(UnitRef unit, std::string op, Millis within) override {
    json::object request = with_unit({{"do", "finish"}, {"op", op}}, unit);
    WireReply reply = co_await call(std::move(request), within);
    co_return read<&activate_reply_from_json>(reply);
  }

  Task<OpState> state(UnitRef unit, std::string op) override {
    json::object request = with_unit({{"do", "state"}, {"op", op}}, unit);
    WireReply reply = co_await question(std::move(request), Millis(60000));
    co_return read<&op_state_from_json>(reply);
  }

  Task<OpState> confirm(UnitRef unit, std::string op, std::int64_t epoch, std::string holder) override {
    json::object request = with_unit({{"do", "confirm"}, {"op", op}, {"epoch", epoch}, {"holder", holder}}, unit);
    hang_up();  // only a connection made after the switch proves that one can be made
    if (auto fresh = std::move(fresh_)) {
      while (!fresh->over) co_await fresh->ended.wait();
      session_ = std::move(fresh->session);  // null when it could not be opened: call() tries once more
    }
    WireReply reply = co_await call(std::move(request), Millis(60000));
    co_return read<&op_state_from_json>(reply);
  }

  Task<> fence(UnitRef unit, std::int64_t epoch, std::string holder, std::string ledger_id) override {
    json::object request = with_unit({{"do", "fence"}, {"epoch", epoch}, {"holder", holder}, {"ledger_id", ledger_id}}, unit);
    co_await call(std::move(request), Millis(60000));
  }

  Task<Look> look_back(UnitRef unit, Verify how, std::string version) override {
    json::object request = with_unit({{"do", "observe"}, {"verify", "none"}, {"back_to", version}}, unit);
    request["back"] = to_text(how);
    co_return co_await look_by(std::move(request), how == Verify::full ? Millis(600000) : Millis(60000));
  }

  Task<Look> fence_and_look(FenceRequest fence) override {
    json::object request = to_json(fence);
    request["do"] = "fence";
    request["observe"] = true;
    co_return co_await look_by(std::move(request), Millis(60000));
  }

  Task<StageReply> mend(UnitRef unit, ReleaseId release) override {
    json::object request = with_unit({{"do", "mend"}}, unit);
    request["release"] = to_json(release);
    WireReply reply = co_await call(std::move(request), Millis(600000));
    co_return read<&stage_reply_from_json>(reply);
  }

  Task<HealthReport> health(UnitRef unit) override {
    json::object request = with_unit({{"do", "health"}}, unit);
    WireReply reply = co_await question(std::move(request), Millis(120000));
    co_return read<&health_report_from_json>(reply);
  }

  Task<json::object> ask(json::object request, Millis within) override {
    WireReply reply = co_await call(std::move(request), within);
    co_return std::move(reply.body);
  }

  Task<std::string> ask_data(json::object request, Millis within) override {
    std::function<void(std::string)> no_events;
    WireReply reply = co_await call(std::move(request), within, no_events, true);
    co_return std::move(reply.data);
  }

  void hang_up() override {
    if (session_) session_->close();
    session_.reset();
  }

 private:
  // A connection on its way while health runs.
  struct Fresh {
    std::unique_ptr<WireSession> session;
    bool over = false;
    Signal ended;
  };

  // What a host answers instead of a reply is that host's trouble, and never stops the others (promise 18).
  template <auto from_json>
  std::invoke_result_t<decltype(from_json), const json::object&> read(const WireReply& reply) {
    try {
      return from_json(reply.body);
    } catch (const Error& e) {
      hang_up();
      throw LinkError(LinkFault::host, "protocol", fmt::format("host '{}' sent a reply that cannot be read: {}", name_, e.message()),
                      "the session was dropped; what the host did is in its journal");
    }
  }

  HostAddress address() const {
    if (!host_)
      throw LinkError(LinkFault::unreachable, "not_in_fleet", fmt::format("host '{}' is not in the fleet file", name_),
                      "it was when this was planned; put it back, or say that it is gone: `ripcord hosts retire " + name_ + " -m WHY`");
    return host_->address;
  }

  static Task<> open_into(WireHost& self, std::shared_ptr<Fresh> fresh) {
    try {
      HostAddress address = self.address();
      std::string first = WireSession::opening(self.beat_);
      auto channel = co_await self.link_.open(std::move(address), std::move(first));
      auto session = std::make_unique<WireSession>(self.clock_, std::move(channel), self.name_, self.beat_);
      co_await session->read_hello(self.clock_.elapsed() + Millis(30000));
      session->no_request_in_opening();
      fresh->session = std::move(session);
    } catch (const Error&) {
      // confirm() opens another and reports why if that fails too
    }
    fresh->over = true;
    fresh->ended.notify_all();
  }

  void open_fresh() {
    fresh_ = std::make_shared<Fresh>();
    spawn(loop_, open_into(*this, fresh_));
  }

  Task<Look> look_by(json::object request, Millis within) {
    WireReply reply = co_await question(std::move(request), within);
    Look look;
    look.hello = session_->hello();
    look.unit = read<&observation_from_json>(reply);
    co_return look;
  }

  // A question changes nothing and may be asked twice: when a session from before turns out to be lost, and when the program on the
  // host ended before it had answered (somebody killed it, memory ran out). Who cannot be reached is not asked again here.
  Task<WireReply> question(json::object request, Millis within) {
    const Elapsed until = clock_.elapsed() + within;
    const bool from_before = session_ && !session_->broken();
    bool again = true;
    while (true) {
      try {
        json::object copy = request;
        WireReply reply = co_await call(std::move(copy), until - clock_.elapsed());
        co_return reply;
      } catch (const LinkError& e) {
        if (!again || e.fault() != LinkFault::unreachable || !(from_before || (session_ && e.name() == "closed"))) throw;
      }
      again = false;
    }
  }

  // Sends a request and waits for its reply; opens the session if there is none.
  Task<WireReply> call(json::object request, Millis within, std::function<void(std::string)> on_event = {}, bool data = false) {
    if (session_) {
      const bool lost = co_await session_->fell_silent();
      if (lost) hang_up();
    }
    if (!session_) {
      HostAddress address = this->address();
      std::string first = WireSession::opening(beat_, std::move(request));
      auto channel = co_await link_.open(std::move(address), std::move(first));
      session_ = std::make_unique<WireSession>(clock_, std::move(channel), name_, beat_);
      co_await session_->read_hello(clock_.elapsed() + Millis(30000));
    } else {
      co_await session_->send(std::move(request));
    }
    WireSession::Expect expect{clock_.elapsed() + within, data, std::move(on_event)};
    WireReply reply = co_await session_->reply(std::move(expect));
    co_return reply;
  }

  Loop& loop_;
  Clock& clock_;
  Link& link_;
  const Host* host_;
  std::string name_;
  Millis beat_;
  std::unique_ptr<WireSession> session_;
  std::shared_ptr<Fresh> fresh_;
};

class WireHosts : public HostPorts {
 public:
  WireHosts(Loop& loop, Clock& clock, Link& link, const Fleet& fleet) : loop_(loop), clock_(clock), link_(link), beat_(fleet.ssh.heartbeat) {
    for (const auto& host : fleet.hosts) hosts_.emplace(host.name, &host);
  }

  HostPort& port(const std::string& name) override {
    auto& port = ports_[name];
    if (!port) {
      auto found = hosts_.find(name);
      port = std::make_unique<WireHost>(loop_, clock_, link_, found == hosts_.end() ? nullptr : found->second, name, beat_);
    }
    return *port;
  }

 private:
  Loop& loop_;
  Clock& clock_;
  Link& link_;
  Millis beat_;
  std::unordered_map<std::string, const Host*> hosts_;
  std::unordered_map<std::string, std::unique_ptr<WireHost>> ports_;
};

}  // namespace

std::unique_ptr<HostPorts> make_wire_hosts(Loop& loop, Clock& clock, Link& link, const Fleet& fleet) {
  return std::make_unique<WireHosts>(loop, clock, link, fleet);
}

}  // namespace ripcord
