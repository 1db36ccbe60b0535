//! A signal in the step that ends the run, in the validation of that step, or in the last step of an epoch:
//! what the run's status is, what is saved, and that a resume ends with the bytes of the undisturbed run.

use std::path::Path;

use burn_ckpt::Checkpoint;
use serde_json::Value;
use system_tests::programs::running::{Running, resumes_as, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, compare, in_memory, metadata, run_dir};

/// 30 steps in an epoch, and 8 batches in a validation.
const FLAGS: &str = "--run-id r1 --epochs 3 --topk 2";
const VALIDATED: &str = "--set validation={\"every_n_steps\":15}";
const SIGNALS: [(&str, i32); 3] = [("TERM", 143), ("INT", 130), ("USR1", 138)];

/// What a signal comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ends {
    /// The run is done, as it would be without the signal.
    Done,
    /// It is stopped, and this step is saved.
    StoppedAt(u64),
}
use Ends::{Done, StoppedAt};

/// A run, and signals in its batches.
struct Case {
    what: &'static str,
    flags: &'static str,
    /// The step at which a callback ends it.
    asked: Option<u64>,
    signals: &'static [(Split, usize, Ends)],
}

const CASES: [Case; 10] = [
    Case {
        what: "a limit within an epoch",
        flags: "--set max_steps=45",
        asked: None,
        signals: &[(Split::Train, 45, Done)],
    },
    Case {
        what: "a limit whose step is validated",
        flags: "--set max_steps=45 VALIDATED",
        asked: None,
        signals: &[(Split::Train, 45, StoppedAt(45)), (Split::Valid, 20, StoppedAt(45))],
    },
    Case {
        what: "a limit in the last step of an epoch",
        flags: "--set max_steps=30",
        asked: None,
        signals: &[(Split::Train, 30, StoppedAt(30)), (Split::Valid, 4, StoppedAt(30))],
    },
    Case {
        what: "a limit in a step of the epoch's last two batches",
        flags: "--set max_steps=8 --set grads_accumulation=4",
        asked: None,
        signals: &[(Split::Train, 30, StoppedAt(7)), (Split::Valid, 4, StoppedAt(8))],
    },
    Case {
        what: "a callback within an epoch",
        flags: "",
        asked: Some(45),
        signals: &[(Split::Train, 45, Done)],
    },
    Case {
        what: "a callback in a step that is validated",
        flags: "VALIDATED",
        asked: Some(45),
        signals: &[(Split::Train, 45, StoppedAt(45)), (Split::Valid, 20, StoppedAt(45))],
    },
    Case {
        what: "a callback in the last step of an epoch",
        flags: "",
        asked: Some(30),
        signals: &[(Split::Train, 30, StoppedAt(30)), (Split::Valid, 4, StoppedAt(30))],
    },
    Case {
        what: "early stopping",
        flags: "--set early_stopping={\"metric\":\"val_loss\",\"patience\":1,\"min_delta\":1000.0}",
        asked: None,
        signals: &[(Split::Train, 60, StoppedAt(60)), (Split::Valid, 12, StoppedAt(60))],
    },
    Case {
        what: "a time that is over after the first step",
        flags: "--set max_time=0.000001 --set validation={\"every_n_steps\":1}",
        asked: None,
        signals: &[(Split::Train, 1, StoppedAt(1)), (Split::Valid, 4, StoppedAt(1))],
    },
    Case {
        what: "the last step of an epoch and of the run",
        flags: "",
        asked: None,
        signals: &[
            (Split::Train, 30, StoppedAt(30)),
            (Split::Train, 90, StoppedAt(90)),
            (Split::Valid, 20, StoppedAt(90)),
        ],
    },
];

/// What a checkpoint says of the end of its run.
fn how_it_ended(checkpoint: &Path) -> Value {
    Checkpoint::open(checkpoint).unwrap().trainer_state::<Value>().unwrap()["ended"].clone()
}

impl Case {
    fn flags(&self) -> String {
        format!("{FLAGS} {}", self.flags.replace("VALIDATED", VALIDATED))
    }

    fn hooks(&self, hooks: TestHooks) -> TestHooks {
        TestHooks { ends_at_step: self.asked, ..hooks }
    }

    /// Sends a signal in a batch, and looks at what the run has left, and at its resume.
    fn signalled(&self, root: &Path, whole: &Path, at: (Split, usize, Ends), signal: (&str, i32)) {
        let ((split, batch, ends), (signal, status), gate) = (at, signal, Gate::closed());
        let what = format!("{}: SIG{signal} in {split:?} {batch}", self.what);
        let hooks = self.hooks(TestHooks::wait(split, batch, &gate));
        let mut running = Running::start(hooks.given_to(warmup(root, &self.flags())));
        running.wait_for("the batch", |_| gate.is_reached());
        running.send(signal);
        running.wait_for("the signal", |said| said.contains(&format!("SIG{signal}: saving")));
        gate.open();
        let ended = running.end();
        let last = checkpoints(root).join("last.ckpt");
        let said = how_it_ended(&last);
        if ends == Done {
            assert_eq!((ended.code(), said), (Some(0), Value::from("done")), "{what}: {ended:?}");
            assert!(!ended.stderr.contains("stopped before the last epoch"), "{what}: {ended:?}");
            compare(whole, &run_dir(root)).unwrap_or_else(|reason| panic!("{what}: {reason}"));
            return;
        }
        assert_eq!(ended.code(), Some(status), "{what}: {ended:?}");
        assert_eq!(said, format!("stopped: SIG{signal}"), "{what}");
        let step = metadata(&last)["global_step"].as_u64().unwrap();
        assert_eq!(StoppedAt(step), ends, "{what}");
        // The program that resumes it has no callback which would end it once more.
        resumes_as(&ended, root, whole);
        assert_eq!(how_it_ended(&last), "done", "{what}");
    }
}

#[test]
fn each_is_done_or_resumes_to_the_same_bytes() {
    let mut signals = SIGNALS.iter().cycle();
    for case in &CASES {
        let directory = in_memory();
        let whole = directory.path().join("whole");
        let hooks = case.hooks(TestHooks::default());
        Running::start(hooks.given_to(warmup(&whole, &case.flags()))).end_well();
        for (number, at) in case.signals.iter().enumerate() {
            let root = directory.path().join(number.to_string());
            case.signalled(&root, &run_dir(&whole), *at, *signals.next().unwrap());
        }
    }
}
