//! The cryptography of this host.

#[cfg(feature = "aws-lc-rs")]
mod chosen {
    /// The algorithms sessions and endpoints use here.
    pub type HostProvider = crate::provider_aws::AwsLc;

    /// The algorithms sessions and endpoints use here.
    pub const fn host_provider() -> HostProvider {
        crate::provider_aws::AwsLc
    }
}

#[cfg(not(feature = "aws-lc-rs"))]
mod chosen {
    use getrandom::SysRng;
    use getrandom::rand_core::UnwrapErr;
    use peregrine_crypto::rustcrypto::RustCrypto;

    /// The algorithms sessions and endpoints use here.
    pub type HostProvider = RustCrypto<UnwrapErr<SysRng>>;

    /// The algorithms sessions and endpoints use here.
    pub const fn host_provider() -> HostProvider {
        // Going on with predictable bytes would be worse than ending the program: hence the unwrapping.
        RustCrypto::new(UnwrapErr(SysRng))
    }
}

pub use chosen::{HostProvider, host_provider};
