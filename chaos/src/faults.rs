//! How faults are done, and undone.

use crate::role::{Role, signal};
use crate::schedule::{Fault, Victim};
use crate::toxiproxy::Cut;
use crate::world::World;
use anyhow::Context as _;
use rustix::process::Signal;
use std::time::Duration;
use tokio::task::block_in_place;
use tokio::time::sleep;

impl World {
    /// Does it, waits as long as it lasts, and undoes it.
    pub(crate) async fn inflict(&self, victim: Victim, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Kill(time) => {
                self.kill(victim)?;
                sleep(time).await;
                self.start_again(victim)
            }
            Fault::Restart => {
                self.stop(victim)?;
                self.start_again(victim)
            }
            Fault::Freeze(time) => self.freeze(victim, time).await,
            Fault::Cut(cut, time) => {
                self.cut(victim, cut).await?;
                sleep(time).await;
                self.heal(victim).await
            }
        }
    }

    fn victim(&self, victim: Victim) -> anyhow::Result<Option<&Role>> {
        match victim {
            Victim::Role(kind, number) => self.role(kind, number).map(Some),
            Victim::Node(_) | Victim::Store => Ok(None),
        }
    }

    fn kill(&self, victim: Victim) -> anyhow::Result<()> {
        match victim {
            Victim::Node(node) => block_in_place(|| self.cluster.kill(node)),
            Victim::Store => block_in_place(|| self.minio.kill()),
            Victim::Role(..) => self.victim(victim)?.into_iter().for_each(Role::kill),
        }
        Ok(())
    }

    fn stop(&self, victim: Victim) -> anyhow::Result<()> {
        match victim {
            Victim::Node(node) => block_in_place(|| self.cluster.stop(node)),
            Victim::Store => block_in_place(|| self.minio.stop()),

            Victim::Role(..) => block_in_place(|| self.victim(victim)?.map_or(Ok(()), Role::stop))?,
        }
        Ok(())
    }

    pub(crate) fn start_again(&self, victim: Victim) -> anyhow::Result<()> {
        match victim {
            Victim::Node(_) => drop(block_in_place(|| self.cluster.up())),
            Victim::Store => drop(block_in_place(|| self.minio.up())),

            Victim::Role(..) => self.victim(victim)?.map_or(Ok(()), Role::start)?,
        }
        Ok(())
    }

    async fn freeze(&self, victim: Victim, time: Duration) -> anyhow::Result<()> {
        self.signal(victim, Signal::STOP)?;
        sleep(time).await;
        self.signal(victim, Signal::CONT)
    }

    pub(crate) fn signal(&self, victim: Victim, what: Signal) -> anyhow::Result<()> {
        let pid = match victim {
            Victim::Node(node) => self.cluster.pid(node),
            Victim::Store => self.minio.pid(),
            Victim::Role(..) => self.victim(victim)?.and_then(Role::pid),
        };
        signal(pid.with_context(|| format!("{victim} does not run"))?, what)
    }

    /// Proxies that stand before it: or, before a process that opens tables, between it and the store.
    fn proxies_of(&self, victim: Victim) -> Vec<String> {
        match victim {
            Victim::Node(_) | Victim::Role(..) => vec![victim.to_string()],
            Victim::Store => {
                self.roles.iter().filter(|role| role.kind.has_store()).map(|role| role.name.clone()).collect()
            }
        }
    }

    pub(crate) async fn cut(&self, victim: Victim, cut: Cut) -> anyhow::Result<()> {
        for proxy in self.proxies_of(victim) {
            self.proxies.cut(&proxy, cut).await?;
        }
        Ok(())
    }

    pub(crate) async fn heal(&self, victim: Victim) -> anyhow::Result<()> {
        for proxy in self.proxies_of(victim) {
            self.proxies.heal(&proxy).await?;
        }
        Ok(())
    }
}
