//! Which thread reads which tensor, and which failure is reported: with tensors of one byte.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use burn_pack::DType;

use super::*;

/// Tensors with their number as their only byte. Reading one calls `read` with the number.
fn tensors(
    count: u8,
    cost: usize,
    read: impl Fn(u8) -> Result<(), Error> + Send + Sync + 'static,
) -> Vec<Wanted> {
    let read = Arc::new(read);
    let tensor = |index: u8| {
        let read = Arc::clone(&read);
        let bytes = move || read(index).map(|()| Bytes::from_bytes_vec(vec![index]));
        Tensor::deferred(index.to_string(), DType::U8, vec![1], None, 1, bytes)
    };
    (0..count).map(|index| Wanted { tensor: tensor(index), cost }).collect()
}

fn byte(tensor: &Tensor) -> u8 {
    tensor.to_bytes().unwrap()[0]
}

#[test]
fn tensors_can_be_taken_in_any_order() {
    let orders: [Vec<u8>; 4] = [
        (0..50).collect(),
        (0..50).rev().collect(),
        (0..50).map(|i| i % 5 * 10 + i / 5).collect(),
        vec![49, 3],
    ];
    for order in orders {
        for (threads, ahead, claim) in [(0, 1, 1), (1, 1, 1), (3, 4, 1), (3, 100, 7)] {
            let limits = Limits { threads, ahead, claim };
            let (read, failure) = limits.read_ahead(tensors(50, 1, |_| Ok(())), |tensors| {
                order.iter().map(|&index| byte(&tensors[usize::from(index)])).collect::<Vec<_>>()
            });
            assert_eq!(read, order);
            assert!(failure.is_none());
        }
    }
}

/// Reads 20 tensors with room for a cost of 5. Returns the `first` tensors that are read before one is taken,
/// and the largest number that was read and not taken.
fn ahead(cost: usize, first: usize) -> (Vec<u8>, usize) {
    let (begun, taken, most) =
        (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (Arc::clone(&taken), Arc::clone(&most));
    let (sender, receiver) = mpsc::channel();
    let wanted = tensors(20, cost, move |index| {
        let begun = begun.fetch_add(1, Ordering::SeqCst) + 1;
        counted.1.fetch_max(begun.saturating_sub(counted.0.load(Ordering::SeqCst)), Ordering::SeqCst);
        let _ = sender.send(index);
        Ok(())
    });
    let (mut before, _) = Limits { threads: 2, ahead: 5, claim: 2 }.read_ahead(wanted, |tensors| {
        let before: Vec<u8> = receiver.iter().take(first).collect();
        for tensor in &tensors {
            taken.fetch_add(1, Ordering::SeqCst);
            byte(tensor);
        }
        before
    });
    before.sort_unstable();
    (before, most.load(Ordering::SeqCst))
}

#[test]
fn readers_stay_within_the_limit_ahead_of_the_caller() {
    assert_eq!(ahead(1, 5), (vec![0, 1, 2, 3, 4], 5));
}

#[test]
fn a_tensor_larger_than_the_limit_is_read_ahead_alone() {
    assert_eq!(ahead(6, 1), (vec![0], 1));
}

#[test]
fn the_first_of_several_failures_is_reported_and_reading_stops() {
    let (sender, receiver) = mpsc::channel();
    let (receiver, count) = (Mutex::new(receiver), Arc::new(AtomicUsize::new(0)));
    let reads = Arc::clone(&count);
    let wanted = tensors(200, 1, move |index| {
        reads.fetch_add(1, Ordering::SeqCst);
        match index {
            // Fails after the next one, with a panic.
            3 => panic!("{} was first", receiver.lock().recv().unwrap()),
            4 => {
                sender.send(index).unwrap();
                Err(Error::IoError(index.to_string()))
            }
            _ => Ok(()),
        }
    });
    let (answers, failure) = Limits { threads: 2, ahead: 10, claim: 1 }.read_ahead(wanted, |tensors| {
        tensors.iter().map(|tensor| tensor.to_bytes().is_ok()).collect::<Vec<_>>()
    });
    let failure = failure.unwrap();
    assert_eq!(failure.index, 3);
    assert!(failure.error.to_string().contains("4 was first"), "{}", failure.error);
    assert_eq!(answers.iter().position(|read| !read), Some(3));
    assert!(count.load(Ordering::SeqCst) < 20, "{count:?} were read");
}

#[test]
fn a_caller_that_unwinds_leaves_no_reader_behind() {
    let (sender, receiver) = mpsc::channel();
    let wanted =
        tensors(100, 1, move |index| sender.send(index).map_err(|error| Error::IoError(error.to_string())));
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        Limits { threads: 2, ahead: 2, claim: 1 }.read_ahead(wanted, |_| {
            // Both readers have stored a tensor and wait for room, or soon will.
            assert!(receiver.iter().take(2).all(|index| index < 2));
            panic!("the device is lost")
        })
    }));
    assert_eq!(panic_message(&*unwound.map(|((), _)| ()).unwrap_err()), "the device is lost");
    assert!(receiver.iter().next().is_none(), "a reader has a tensor still");
}
