// The processes of a unit: started, stopped, restarted as the sealed spec says. run: services are ours (own session, noted in
// <state>/units/<unit>/services/<name> before they execute); systemd and start/stop services belong to others, and we run argv.
// What a unit's own program does wrong is a StepOutcome; OperationEnded passes through.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "manifests/host/release_context.hpp"
#include "manifests/host/step_gate.hpp"

namespace ripcord {

// Allocates the services' records, so that the way back can start them on a full disk.
void reserve_services(const ReleaseContext& release);

// Moves the unit's services from the release that ran (null: none) to the one that comes (null: none): services that are only in
// `running` are stopped, the others restarted, running's stop and coming's start.
struct ServiceSwitch {
  StepOutcome outcome;
  bool restarted_all = true;  // false: some were only reloaded or left alone, so their processes are older than the switch
};
enum class SwitchManner {
  forward,  // a stop that fails ends it; on_config_change is honoured
  back,     // everything is restarted, and a service that cannot be stopped properly does not keep the old one from starting
};
ServiceSwitch switch_services(const ReleaseContext* running, const ReleaseContext* coming, SwitchManner manner, const StepGate& gate);

// Did only files under config/ change, with the services defined alike?
bool only_config_differs(const ReleaseContext& a, const ReleaseContext& b);

// The main process, as far as it can be known: run: our note, pidfile, systemd's MainPID. nullopt: none, or not known.
std::optional<ProcessId> main_process(const ReleaseContext& release, const Service& service);
bool main_process_is_known(const Service& service);  // is there a way to know it at all?

// A run: service whose process has ended, and how ("service 'web' ended: exit status 1"). nullopt: all run.
std::optional<std::string> ended_service(const ReleaseContext& release);

// A service of the unit that runs although nothing is deployed ("systemd unit 'web' is active"); nullopt: none.
std::optional<std::string> running_already(const ReleaseContext& coming);

std::string log_file(const ReleaseContext& release, const Service& service);  // "" when there is none
std::string log_tail(const ReleaseContext& release, const Service& service, std::size_t lines);  // masked
std::string log_tails(const ReleaseContext& release, std::size_t lines);      // of all services, each under its name when several

}  // namespace ripcord
